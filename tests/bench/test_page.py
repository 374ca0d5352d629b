from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixward.bench import EditBenchSettings, run_edit_bench
from pixward.bench.page import page, read_ablation, write_page
from pixward.bench.summary import compare, gates, margin
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


def test_ablation_is_included_where_it_is_there(settings: EditBenchSettings) -> None:
    result = run_edit_bench(settings)
    assert "Not measured yet" in (settings.out / "edit.md").read_text()
    rows = [
        {
            "name": "all",
            "features": ["dual path", "history"],
            "updates": 900,
            "psnr_at": {"10": 40, "5": 39},
        }
    ]
    (settings.out / "ablation.json").write_text(json.dumps(rows))
    write_page(result, settings.out)
    text = (settings.out / "edit.md").read_text()
    assert "| policy | features | updates | 5 renders | 10 renders |" in text
    assert "| all | dual path, history | 900 | 39.00 | 40.00 |" in text


@pytest.mark.parametrize("text", ["{", '{"name": 1}', '[{"name": "all"}]'])
def test_an_ablation_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "ablation.json").write_text(text)
    with pytest.raises(PixwardError, match="is not an ablation"):
        read_ablation(tmp_path / "ablation.json")
