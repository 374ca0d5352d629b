"""The page of the real editors' figures is what its JSON says, and the JSON what was measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import editors_figures  # noqa: E402
import editors_page  # noqa: E402


def test_the_page_is_up_to_date() -> None:
    folder = ROOT / "docs" / "results"
    assert (folder / "editors.md").read_text() == editors_page.page(folder), "run python benchmarks/editors_page.py"


def a_line(photo: str, method: str, at_30: float, at_200: float) -> dict:
    same = {"psnr": 20.0, "ssim": 0.9, "delta_e": 9.0}
    return {
        "editor": "darktable",
        "photo": photo,
        "method": method,
        "identity": same,
        "psnr": {"30": at_30, "200": at_200},
        "at_30": same,
        "end": same,
        "renders": 200,
        "seconds": 2.0,
        "true": {"exposure": 0.5},
        "true_action": [0.2],
        "found": {"exposure": 0.6},
        "action": [0.1],
        "fresh": 60.0,
    }


def test_the_promise_is_paired_over_photos() -> None:
    lines = [
        *(a_line("a", "hybrid", 50.0, 50.0), a_line("a", "cmaes", 25.0, 30.0)),
        *(a_line("b", "hybrid", 40.0, 44.0), a_line("b", "cmaes", 25.0, 39.0)),
        a_line("c", "hybrid", 99.0, 99.0),  # Its CMA-ES is still to come.
    ]
    (promise,) = editors_figures.pictures(lines)["promises"]
    assert (promise["photos"], promise["lead, dB"], promise["least"], promise["met"]) == (2, 10.5, 1.0, True)


def test_sliders_off_are_a_share_of_the_range() -> None:
    row = editors_figures.sliders([a_line("a", "hybrid", 50.0, 50.0), a_line("a", "cmaes", 1.0, 2.0)])[0]
    assert row["hybrid, % of the range off (median)"] == 5.0
    assert row["a: found (true)"] == "0.6 (0.5)"


def test_a_raw_file_that_is_worse_than_the_default_is_told() -> None:
    def figures(psnr: float, delta_e: float) -> dict:
        full = {"psnr": psnr, "ssim": 0.9, "delta_e": delta_e}
        return {"full": full, "renders": 30, "seconds": 1.0, "agreement": 36.0, "by_hand": {"psnr": 51.0}}

    lines = [
        {
            "editor": "darktable",
            "photo": name,
            "default": figures(20, 9),
            "match": found,
            "oracle": found,
            "compared": 1,
        }
        for name, found in (("a", figures(28, 3)), ("b", figures(19, 3)))
    ]
    (promise,) = editors_figures.raw(lines)["promises"]
    assert promise["better than the default by PSNR"] == 1 and promise["by deltaE"] == 2
    assert promise["on every one"] is False and promise["45 dB or more"] is True


def test_a_part_that_was_not_measured_has_no_section(tmp_path: Path) -> None:
    part = {
        "command": "python x.py",
        "commit": "abc",
        "rows": [{"editor": "darktable"}],
        "versions": {"darktable": "4"},
    }
    (tmp_path / "editors_lut.json").write_text(json.dumps(part))
    text = editors_page.page(tmp_path)
    assert "## Pointwise modules" in text and "## Raw files" not in text and "Editors: darktable 4." in text
