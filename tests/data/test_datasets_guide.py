"""What docs/guides/datasets.md shows is what happens, on folders made after its drawings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.data.test_paired import touch

from pixward.data.paired import LAYOUTS, pairs_of

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "datasets.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def draw(folder: Path) -> None:
    touch(*(folder / "fivek" / "raw_photos" / "HQa1to700" / "photos" / f"a{k:04d}-x.dng" for k in range(1, 701)))
    touch(*(folder / "fivek" / "tiff16_c" / f"a{k:04d}-x.tif" for k in range(1, 701)))


def test_the_code_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    draw(tmp_path)
    monkeypatch.chdir(tmp_path)
    first, second = (code for language, code in BLOCKS if language == "python")
    exec(first, {})
    assert len(capsys.readouterr().out.splitlines()) == 700
    exec(second, {})
    held = pairs_of(Path("fivek"), "fivek@held-out.txt")
    assert len(held) == 500 and len({pair.name for pair in held}) == 500


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_drawing_is_found(tmp_path, layout):
    """Every tree of the guide, made as drawn, holds the pairs of its layout."""
    trees = [block for language, block in BLOCKS if not language]
    roots = {"folders": "mine", "fivek": ("fivek", "val"), "hdrplus": "20171106_subset"}
    wanted = [tree for tree in trees if tree.startswith(roots[layout])]
    assert len(wanted) == {"folders": 1, "fivek": 3, "hdrplus": 1}[layout]
    for number, tree in enumerate(wanted):
        place = tmp_path / str(number)
        stack = []
        for line in tree.splitlines():
            depth = (len(line) - len(line.lstrip())) // 2
            name = line.split()[0]
            stack[depth:] = [name.rstrip("/")]
            if not name.endswith("/"):
                touch(place.joinpath(*stack))
        (place / stack[0] / "test.txt").unlink(missing_ok=True)
        assert len(pairs_of(place / stack[0], layout)) == 1
