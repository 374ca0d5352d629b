"""What the README shows is what happens."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pixward.image import load
from pixward.params import ParamSpace

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    space: ParamSpace = names["PHOTO"].space
    assert set(names["result"].setting) == set(space.names)
    assert names["result"].distance["psnr"] > names["result"].source_distance["psnr"] + 10
    assert load(tmp_path / "otters-edited.jpg").size == load(ROOT / "examples/photos/otters.jpg").size


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", "AGENTS.md", "docs/architecture.md", "docs/paper_index.md", "docs/predict.md"],
)
def test_links_and_named_files_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    # Modules in backquotes, as `search/problem.py` or `src/pixward/types.py`.
    for name in re.findall(r"`([a-z_/0-9]+/[a-z_0-9]+\.py)`", text):
        if not (ROOT / name).exists() and not (ROOT / "src" / "pixward" / name).exists():
            missing.append(name)
    assert not missing


def test_the_readme_names_every_slider_and_strategy() -> None:
    from pixward.editors.chain import PHOTO
    from pixward.match import STRATEGIES

    assert not [name for name in (*PHOTO.space.names, *STRATEGIES) if name not in README]
