"""The detection reward beside the released file's outputs, and beside a loop in Python, with their time."""

from __future__ import annotations

import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from pixward.boxes import Boxes
from pixward.rewards.vision import MAP, RECALL, detection_outcome, detection_recall

ROOT = Path(__file__).resolve().parents[1]


def released() -> dict[str, Any]:
    """The reward beside the released file's outputs, float32, that ``detection_golden.py`` took down."""
    path = ROOT / "tests" / "rewards" / "golden" / "detection_reward.json"
    golden = {name: torch.tensor(value) for name, value in json.loads(path.read_text()).items()}
    tests = load(ROOT / "tests" / "rewards" / "test_vision.py")
    target = tests.from_tokens(golden["targets"]).repeat(golden["reward"].shape[1])
    output = tests.from_tokens(golden["samples"].flatten(0, 1))
    outcome = detection_outcome(output, target, replace(MAP, mode="paper_code"))
    pairs = {
        "reward": (outcome.reward, golden["reward"]),
        "matches": (outcome.matches, golden["num_matches"]),
        "confidence": (outcome.confidence, golden["match_iou"]),
    }
    apart = {name: float((ours.view_as(theirs) - theirs).abs().max()) for name, (ours, theirs) in pairs.items()}
    return {
        "samples": len(outcome.reward),
        "rewards": [float(golden["reward"].min()), float(golden["reward"].max())],
        "differences": apart,
        "largest difference": max(apart.values()),
    }


def reward_times() -> list[dict[str, Any]]:
    loops = load(ROOT / "tests" / "rewards" / "test_vision.py")
    rows = []
    for batch, count, predictions in ((64, 6, 6), (64, 20, 20), (16, 50, 100)):
        output, target = (as_double(part) for part in loops.scene(0, count, predictions, batch, classes=10))
        vectorised = partial(detection_recall, output, target)
        loop = partial(loops.loop_rewards, output, target, RECALL)
        rows.append(
            {
                "pictures": batch,
                "objects": count,
                "predictions": predictions,
                "largest difference": float((vectorised() - loop()).abs().max()),
                "vectorised, CPU s": seconds(vectorised),
                "loop, CPU s": seconds(loop, 1),
            }
        )
    return rows


def as_double(boxes: Boxes) -> Boxes:
    return replace(boxes, boxes=boxes.boxes.double())


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(work: Callable[[], object], times: int = 5) -> float:
    spent = []
    for _ in range(times):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return round(statistics.median(spent), 5)
