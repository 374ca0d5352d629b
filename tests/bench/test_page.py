from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from pixward.bench import EditBenchSettings, run_edit_bench
from pixward.bench.page import page, read_beside, write_page
from pixward.bench.paper import RANDOM
from pixward.bench.summary import compare, gates, margin
from pixward.bench.tables import results, speed
from pixward.errors import PixwardError


def units(*curves: list[float]) -> list[dict]:
    return [{"psnr": curve} for curve in curves]


def flat(value: float, length: int = 201) -> list[float]:
    return [value] * length


def test_comparison_names_the_best_rival_of_each_statistic() -> None:
    found = compare(
        {
            "identity": units(flat(99), flat(99)),
            "gradient": units(flat(99), flat(99)),
            "cmaes": units(flat(50), flat(10)),
            "greedy": units(flat(25), flat(25)),
            "hybrid": units(flat(40), flat(16)),
        },
        [0, 10],
    )
    assert [(row["statistic"], row["other"], row["difference"]) for row in found] == [
        ("mean", "cmaes", -2.0),
        ("p5", "greedy", pytest.approx(16 + 0.05 * 24 - 25)),
    ]
    assert found[0]["low"] == -10
    assert found[0]["high"] == 6


def test_margin_compares_10_renders_with_200() -> None:
    policy, cmaes = [flat(0)] * 2, [flat(0)] * 2
    policy = [[0.0] * 10 + [40.0] * 191, [0.0] * 10 + [30.0] * 191]
    cmaes = [[0.0] * 200 + [32.0], [0.0] * 200 + [26.0]]
    found = margin({"policy": units(*policy), "cmaes": units(*cmaes)}, [10, 200])
    assert found == {"difference": 6.0, "low": 4.0, "high": 8.0}
    assert margin({"policy": units(*policy)}, [10, 200]) is None


def test_promises_are_met_or_missed() -> None:
    duel = {"statistic": "p5", "other": "cmaes", "low": 0, "high": 0}
    hybrid = {"worse_than_untouched": 1, "at": {"30": {"psnr": {"mean": 54.0}}, "60": {"psnr": {"mean": 57.99}}}}
    goal = {
        "photos": 9,
        "margin": {"difference": 6.49},
        "compare": [{**duel, "at": 10, "difference": 0.1}, {**duel, "at": 200, "difference": -3.0}],
        "strategies": {"hybrid": hybrid},
    }
    found = gates({"chain:paper@0.5": goal})
    assert [(row["asked"], row["met"]) for row in found] == [
        (">= 6.5 dB", False),
        (">= 54.0 dB", True),
        (">= 58.0 dB", False),
        ("> 0 dB", True),
        ("0 photos", False),
    ]


def test_page_says_where_its_figures_come_from(settings: EditBenchSettings) -> None:
    result = run_edit_bench(settings)
    text = (settings.out / "edit.md").read_text()
    assert result["command"] in text
    for word in (
        result["commit"],
        result["date"],
        result["code"],
        "1 torch thread each",
        "| seed | 5 |",
        "Not the same",
    ):
        assert word in text
    for goal in ("chain:paper@0.5", "chain:photo@1"):
        assert f"## {goal}" in text
    for picture in ("edit_chain-paper_r0.5.png", "edit_chain-photo_r1.png"):
        assert f"]({picture})" in text
        assert (settings.out / picture).read_bytes().startswith(b"\x89PNG")
    assert str(settings.photos.parent) not in text
    mean = result["goals"]["chain:photo@1"]["strategies"]["dice"]["at"]["5"]["psnr"]["mean"]
    assert f"**{mean:.2f}**" in text
    assert "did not measure `hybrid`" in text


def test_losses_are_listed(settings: EditBenchSettings) -> None:
    result = run_edit_bench(settings)
    row = {"at": 10, "statistic": "mean", "other": "dice", "difference": -1.5, "low": -2.0, "high": -1.0}
    result["goals"]["chain:paper@0.5"]["compare"] = [row, {**row, "at": 5, "difference": 2.5}]
    losses = page(result).split("is not the best black box")[1].split("\n## ")[0]
    assert "| chain:paper@0.5 | 10 | mean | dice | -1.50 [-2.00, -1.00] |" in losses
    assert "+2.50" not in losses


ORIGIN = {"command": "python x.py", "commit": "abc", "date": "2026-01-02", "hardware": {}}
ROW = {"features": ["global"], "updates": 900, "photos": 50, "radius": 0.5}


def test_ablation_is_included_where_it_is_there(settings: EditBenchSettings) -> None:
    result = run_edit_bench(settings)
    assert "`recipes/ablation.py` writes it" in (settings.out / "edit.md").read_text()
    rows = [
        {**ROW, "name": "CNN only", "psnr_at": {"10": 40, "5": 39}, "ssim_at": {"10": 0.95, "5": 0.9}, "gain": None},
        {
            **ROW,
            "name": "all",
            "psnr_at": {"10": 42, "5": 41},
            "ssim_at": {"10": 0.97, "5": 0.96},
            "gain": {"difference": 2.0, "low": 1.0, "high": 3.0},
        },
    ]
    (settings.out / "ablation.json").write_text(json.dumps({**ORIGIN, "rows": rows}))
    write_page(result, settings.out)
    text = (settings.out / "edit.md").read_text()
    assert "| policy | features | updates | 5 renders | 10 renders | over the first row, dB | *paper* |" in text
    assert "| CNN only | global | 900 | 39.00 / .9000 | 40.00 / .9500 |  | 32.17 / .968 |" in text
    assert "| all | global | 900 | 41.00 / .9600 | 42.00 / .9700 | +2.00 [+1.00, +3.00] | 38.46 / .983 |" in text


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": []}', '{"rows": [{"name": "all"}]}'])
def test_files_beside_that_are_something_else(tmp_path: Path, text: str) -> None:
    for name in ("ablation.json", "edit_speed.json"):
        (tmp_path / name).write_text(text)
        with pytest.raises(PixwardError, match=f"{name} is not what its name says"):
            read_beside(tmp_path)
        (tmp_path / name).unlink()


def test_speed_is_included_where_it_is_there() -> None:
    row = {"editor": "chain:photo", "method": "cmaes, 200", "extrapolated": False, "note": ""}
    rows = [
        {**row, "size": "720p", "seconds": 12.34, "peak_gib": 0.512},
        {**row, "size": "4K", "seconds": 60.0, "peak_gib": 1.0, "extrapolated": True},
        {**row, "size": "4K", "method": "cascaded", "seconds": None, "peak_gib": None, "note": "out of memory"},
    ]
    text = speed({"rows": rows, "sizes": {"720p": [1280, 720], "4K": [3840, 2160]}})
    assert "| editor | method | 720p 1280 x 720 | 4K 3840 x 2160 |" in text
    assert "| chain:photo | cmaes, 200 | 12.3 s, 0.51 GiB | ~60 s, 1 GiB |" in text
    assert "| chain:photo | cascaded |  | out of memory |" in text
    assert "144.02" in text


def test_the_papers_tables_stand_first(settings: EditBenchSettings) -> None:
    further = dataclasses.replace(settings, second=settings.photos, figure=1, strategies=("identity", "dice"))
    run_edit_bench(further)
    text = (settings.out / "edit.md").read_text()
    titles = [line[3:].split(":")[0] for line in text.splitlines() if line.startswith("## ")]
    assert titles[:5] == ["Table 1", "Table 2", "Table 3", "Table 4", "Figure 1"]
    assert "(edit_long.png)" in text
    assert (settings.out / "edit_long.png").stat().st_size > 5000


def test_a_row_of_the_papers_table() -> None:
    at = {"psnr": {"mean": 31.234}, "ssim": {"mean": 0.95678}, "lpips": {"mean": 0.01234}}
    found = {"at": {"0": at, "1": at, "10": at, "200": {"psnr": {"mean": 32.5}}}}
    goals = {"chain:paper@1": {"photos": 7, "strategies": {"cmaes": found, "policy": found}}}
    text = results({"checkpoints": [0, 1, 10, 200], "goals": goals}, {"paper": RANDOM})
    assert text.splitlines() == [
        "| method | renders | chain:paper@1 (7) | *paper* |",
        "|---|---:|---:|---:|",
        "| `cmaes` | 200 | 32.50 | 32.29 / .9754 / .0827 |",
        "| `policy` | 1 | 31.23 / .9568 / .0123 |  |",
        "| `policy` | 10 | 31.23 / .9568 / .0123 | 38.46 / .9814 / .0128 |",
    ]
