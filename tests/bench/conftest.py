from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixward.bench import EditBenchSettings

FAKES = """
import torch

def still(problem, seed):
    "Three renders at the defaults, and no more."
    for _ in range(3):
        problem.render(problem.start[None])

def dice(problem, seed):
    generator = torch.Generator().manual_seed(seed)
    while True:
        problem.render(torch.rand(1, problem.dim, generator=generator) * 2 - 1)

def broken(problem, seed):
    raise RuntimeError("no luck")

STRATEGIES = {"still": lambda editor: still, "dice": lambda editor: dice, "broken": lambda editor: broken}
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two small photos, one of them not square."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, (height, width) in {"b.png": (24, 24), "a.png": (24, 16)}.items():
        low = rng.integers(40, 200, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC).save(folder / name)
    return folder


@pytest.fixture
def settings(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> EditBenchSettings:
    """A benchmark of a second: two photos, three strategies, 12 renders, one process."""
    module = f"fakes_{abs(hash(str(tmp_path)))}"  # another for each test: modules are imported once
    (tmp_path / f"{module}.py").write_text(FAKES)
    monkeypatch.syspath_prepend(tmp_path)
    return EditBenchSettings(
        photos=photos,
        out=tmp_path / "out",
        run=tmp_path / "run",
        goals=("chain:paper@0.5", "chain:photo@1"),
        strategies=("identity", "still", "dice"),
        renders=12,
        seed=5,
        jobs=1,
        preview=24,
        timed=1,
        catalogue=f"{module}:STRATEGIES",
    )
