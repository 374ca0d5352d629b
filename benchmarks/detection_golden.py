"""Golden outputs of the one reward file that was released with "Tuning computer vision models with task rewards".

    python benchmarks/detection_golden.py --source detection_reward.py --out tests/rewards/golden/detection_reward.json

``detection_reward.py`` is big_vision's ``configs/proj/reward_tune/detection_reward.py`` (commit 0127fb6), which needs
jax and einops; pixward needs neither. Predictions are seeded: jittered copies of the true boxes, doubles, noise boxes
and padding, so that matches, duplicates and misses all occur. A few seconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
SAMPLES, PREDICTED, TRUE = 4, 9, 6
COUNTS = (0, 1, 2, 4, 5, 6)
FIRST_BOX, FIRST_CLASS = 3, 1004
"""Tokens: 0 pads, 1 and 2 are the confidence, then 1001 coordinates, then 80 classes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    spec = importlib.util.spec_from_file_location("released", options.source)
    released = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(released)
    rng = np.random.default_rng(0)
    targets = np.stack([target(rng, count) for count in COUNTS])
    samples = np.stack([[prediction(rng, row) for _ in range(SAMPLES)] for row in targets])
    config = SimpleNamespace(
        max_level=1000, max_conf=2, num_cls=80, nms_w=0.3, cls_smooth=0.05, reward_thr=THRESHOLDS, correct_thr=0.5
    )
    reward, aux = released.reward_fn(samples, targets, config)
    golden = {
        "samples": samples,
        "targets": targets,
        "reward": reward,
        "match_iou": aux["match_iou"],
        "num_matches": aux["result"]["num_matches"],
    }
    options.out.write_text(json.dumps({name: np.asarray(value).tolist() for name, value in golden.items()}) + "\n")


def target(rng: np.random.Generator, count: int) -> np.ndarray:
    """``count`` true boxes of few classes, so that boxes of one class overlap, padded to ``TRUE``."""
    rows = np.zeros((TRUE, 6), int)
    corner = rng.integers(0, 700, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(50, 300, (count, 2))], 1)
    if count > 1:
        boxes[1] = boxes[0] + [13, 27, 21, 8]  # two true boxes that one prediction fits almost as well
    rows[:count, :4] = boxes + FIRST_BOX
    rows[:count, 4] = FIRST_CLASS + rng.choice([0, 15, 78], count)
    if count > 1:
        rows[1, 4] = rows[0, 4]
    rows[:count, 5] = 2
    return rows.ravel()


def prediction(rng: np.random.Generator, true: np.ndarray) -> np.ndarray:
    """Each place: a jittered true box, a wrong class, noise or padding."""
    rows = np.zeros((PREDICTED, 6), int)
    known = true.reshape(-1, 6)[true.reshape(-1, 6)[:, 5] > 0]
    for row in rows:
        kind = rng.random()
        if kind < 0.15:
            continue
        if kind < 0.8 and len(known):
            row[:] = known[rng.integers(len(known))]
            jitter = rng.integers(-1, 2, 4) * rng.integers(0, 40, 4)
            row[:4] = (row[:4] - FIRST_BOX + jitter).clip(0, 1000) + FIRST_BOX
            if kind > 0.75:
                row[4] = FIRST_CLASS + rng.integers(80)
        else:
            row[:4] = FIRST_BOX + rng.integers(0, 1001, 4)  # corners in any order
            row[4] = FIRST_CLASS + rng.integers(80)
        row[5] = rng.integers(1, 3)
    return rows.ravel()


if __name__ == "__main__":
    main()
