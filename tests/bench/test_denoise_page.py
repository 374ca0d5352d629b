"""The page of Denoise's figures is what its JSON says, and curves are read as they were logged."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import denoise_page  # noqa: E402
import denoise_rewards  # noqa: E402


def test_the_page_is_up_to_date() -> None:
    folder = ROOT / "docs" / "results"
    assert (folder / "denoise.md").read_text() == denoise_page.page(folder), "run python benchmarks/denoise_page.py"


def test_a_part_that_was_not_measured_has_no_section(tmp_path: Path) -> None:
    part = {"command": ["python x.py"], "commit": "abc", "rows": [{"sampler": "LCM", "means": 1e-7}], "notes": ["One."]}
    (tmp_path / "denoise_parity.json").write_text(json.dumps(part))
    text = denoise_page.page(tmp_path)
    assert "## The same steps as diffusers" in text and "## RLCM against DDPO" not in text
    assert "| LCM | 1e-07 |" in text and "- One." in text and "python x.py" in text


def logged(folder: Path, rewards: list[float], seconds: float) -> denoise_rewards.Curve:
    folder.mkdir()
    lines = [
        {
            "step": index,
            "queries": 32 * index,
            "cpu_seconds": seconds if index else 0.0,
            "train/reward": reward,
            "held-out/reward": reward - 1,
            "train/accuracy": 1.0 - index / 10,
            **({"network_calls": 1000 * index, "reward/own": 3.0} if index else {}),
        }
        for index, reward in enumerate(rewards)
    ]
    lines.insert(1, {"step": 0, "queries": 8, "reward": 9.0})  # between looks
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return denoise_rewards.read_curve(folder)


def test_a_curve_tells_what_was_reached_when(tmp_path: Path) -> None:
    curve = logged(tmp_path / "a", [0.0, 1.0, 1.0, 3.0], 10.0)
    assert (
        curve.queries == [0, 32, 64, 96] and curve.seconds == [0, 10, 20, 30] and curve.calls == [0, 1000, 2000, 3000]
    )
    assert curve.at("queries", 16) == pytest.approx(0.5) and curve.at("seconds", 25) == pytest.approx(2)
    assert curve.at("queries", 200) is None
    assert curve.reached(0.5, "seconds") == pytest.approx(5) and curve.reached(2.0, "seconds") == pytest.approx(25)
    assert curve.reached(4.0, "seconds") is None


def test_the_race_is_to_where_ddpo_ended(tmp_path: Path) -> None:
    slow = logged(tmp_path / "ddpo", [0.0, 1.0], 100.0)
    fast = logged(tmp_path / "rlcm", [-1.0, 0.0, 1.0, 2.0], 4.0)
    row = denoise_rewards.race({"ddpo": [slow], "rlcm": [fast]}, "compress")
    assert row["DDPO's end"] == 1.0 and row["of DDPO's time"] == "1/12.5"
    assert row["of DDPO's time, for the gain"] == "1/25.0"
    assert row["accuracy then: DDPO"] == 0.9 and row["accuracy then: RLCM"] == "0.8 (0.8 to 0.8)"
    never = denoise_rewards.race({"ddpo": [fast], "rlcm": [slow]}, "compress")
    assert never["of DDPO's time"] == "not reached by 1 of 1 seeds"
