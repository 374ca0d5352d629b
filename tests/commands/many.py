"""A folder of photos with goals, and what a batch made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.commands.conftest import edited, picture

QUICK = ("--strategy", "random", "--renders", 2, "--sheet", 0)
ENDS = (".setting.json", ".jpg", ".film.png", ".residual.png")
NAMES = ("a", "b", "c")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos/a.png, b.png, c.png (one upright) and goals/*.jpg: 1.2 stops darker. The current one."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "goals"):
        Path(folder).mkdir()
    for seed, name in enumerate(NAMES):
        pixels = picture(*((32, 48) if name == "b" else (48, 32)), seed=seed)
        Image.fromarray(pixels).save(f"photos/{name}.png")
        Image.fromarray(edited(pixels, exposure=-1.2, saturation=-60)).save(f"goals/{name}.jpg", quality=95)
    return tmp_path


def photos(*names: str) -> list[str]:
    return [f"photos/{name}.png" for name in names or NAMES]


def told(done: Any) -> dict[str, Any]:
    return json.loads(done.out)


def states(done: Any) -> dict[str, str]:
    return {Path(photo["photo"]).name: photo["state"] for photo in told(done)["photos"]}


def times(folder: str = "pixward-out") -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).iterdir() if path.suffix != ".jsonl"}


def lines(folder: str = "pixward-out") -> list[dict[str, Any]]:
    found = []
    for line in (Path(folder) / "batch.jsonl").read_bytes().split(b"\n"):
        if line:
            found.append(json.loads(line))
    return found
