"""The page of Predict's figures is what its JSON says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import predict_page  # noqa: E402
import predict_results  # noqa: E402


def test_the_page_is_up_to_date() -> None:
    folder = ROOT / "docs" / "results"
    assert (folder / "predict.md").read_text() == predict_page.page(folder), "run python benchmarks/predict_page.py"


def test_a_part_that_was_not_measured_has_no_section(tmp_path: Path) -> None:
    part = {"command": ["python x.py"], "commit": "abc", "rows": [{"policy": "mle", "AP": 0.25}], "notes": ["One."]}
    (tmp_path / "predict_detect.json").write_text(json.dumps(part))
    text = predict_page.page(tmp_path)
    assert "## Detection" in text and "## Captions" not in text
    assert "| mle | 0.25 |" in text and "- One." in text and "python x.py" in text


def test_parity_has_a_row_for_every_comparison(tmp_path: Path) -> None:
    inner = {"ours": {"pq": 0.5}, "largest difference": 2e-8}
    part = {
        "command": "x",
        "CIDEr-D": [{"pictures": 3, "ours": 0.9, "largest difference": 1e-15}],
        "panoptic quality": {"pictures": 4, "blank": inner},
        "largest difference of all": 2e-8,
    }
    (tmp_path / "predict_parity.json").write_text(json.dumps(part))
    text = predict_page.page(tmp_path)
    assert "| CIDEr-D | 3 | 0.9 | 1e-15 |" in text and "| panoptic quality: blank |  | 0.5 | 2e-08 |" in text


def test_seeds_are_put_together() -> None:
    assert predict_results.family("map-2") == "map" and predict_results.family("rate_0.001-0") == "rate_0.001"
    assert predict_results.family("mle") == "mle"
    merged = predict_results.together([{"AP": 0.1, "AR": 0.2}, {"AP": 0.3, "AR": 0.4}], ["AP", "AR"])
    assert merged["seeds"] == 2 and merged["AP"] == pytest.approx(0.2) and merged["AR"] == pytest.approx(0.3)
    assert merged["AP from, to"] == ["0.1", "0.3"]
