"""What dual path, statistics and history are worth: five policies after equal training (RLPixTuner's table 4).

    OMP_NUM_THREADS=1 python recipes/ablation.py --shared ../shared/data --runs runs/ablation --out docs/results

Each policy gets the same 500 updates of pretraining on ``chain:paper``, the same tiles, tasks and schedule, and is then
followed for ten renders on the first 50 photos of bsds500/val, goals of radius 0.5, seed 0, as `pixward bench edit`
makes them. Takes about 10 minutes on one core; a stopped run goes on where it was. Writes ``ablation.json``, which
`pixward bench edit --page-only` puts on its page.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from pixward.bench.goals import random_goal
from pixward.bench.provenance import commit, hardware, today
from pixward.bench.stats import paired_interval
from pixward.commands.training import EditTraining, train_edit
from pixward.data.pairs import photo_files
from pixward.editors.chain import PAPER
from pixward.files import save_text
from pixward.image import load, preview, quantize
from pixward.metrics.image import ssim
from pixward.policies.goal import GoalPolicy, load_policy
from pixward.run import read_log
from pixward.search.follow import follow
from pixward.search.problem import Problem, best_so_far, psnr, run

ROWS = {
    "CNN only": ("global",),
    "+ dual path": ("global", "local"),
    "+ dual path + statistics": ("global", "local", "statistics"),
    "+ dual path + history": ("global", "local", "history"),
    "all": ("global", "local", "statistics", "history"),
}
UPDATES, PHOTOS, RADIUS, SEED = 500, 50, 0.5, 0
MARKS = (1, 5, 10)
COMMAND = "python recipes/ablation.py --shared ../shared/data --runs runs/ablation --out docs/results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with photos/ and coco/")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    rows, first = [], None
    for name, features in ROWS.items():
        row, curves = measure(name, features, options.shared, options.runs)
        row["gain"] = None if first is None else gain(curves[:, MARKS[-1]], first[:, MARKS[-1]])
        first = curves if first is None else first
        rows.append(row)
        print(name, row["psnr_at"], row["ssim_at"], row["gain"], flush=True)
    result = {
        "date": today(),
        "commit": commit(),
        "hardware": hardware(),
        "command": COMMAND,
        "seed": SEED,
        "rows": rows,
    }
    save_text(options.out / "ablation.json", json.dumps(result, indent=1) + "\n")


def measure(name: str, features: tuple[str, ...], shared: Path, runs: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Train one policy, or take it up where it was; its row, and its curves ``(photos, renders + 1)``."""
    folder = runs / "-".join(features)
    photos = (shared / "photos/bsds500/train", shared / "photos/bsds500/test", shared / "coco/images")
    job = EditTraining(
        photos, folder, PAPER, steps=UPDATES, seed=SEED, resume=(folder / "pretrain").exists(), features=features
    )
    policy = load_policy(train_edit(job, print))
    curves, alike = followed(policy, shared, RADIUS)
    return {
        "name": name,
        "features": list(features),
        "updates": read_log(folder / "pretrain" / "log.jsonl")[-1]["step"],
        "photos": PHOTOS,
        "radius": RADIUS,
        "psnr_at": {str(mark): round(float(curves[:, mark].mean()), 2) for mark in MARKS},
        "ssim_at": {str(mark): round(float(alike[:, k].mean()), 4) for k, mark in enumerate(MARKS)},
    }, curves


def gain(mine: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Mean difference in dB over photos ``(n,)``, paired, with its bootstrap interval of 95 %."""
    low, high = paired_interval(mine.tolist(), theirs.tolist())
    numbers = {"difference": float((mine - theirs).mean()), "low": low, "high": high}
    return {name: round(number, 2) for name, number in numbers.items()}


def followed(policy: GoalPolicy, shared: Path, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """``policy`` alone, on photos that no network was trained on.

    Returns:
        best PSNR in dB after 0, 1, ... renders, ``(photos, renders + 1)``; SSIM of the best picture at each of
        :data:`MARKS`, ``(photos, marks)``.
    """
    curves, alike = [], []
    for index, path in enumerate(photo_files([shared / "photos/bsds500/val"])[:PHOTOS]):
        source = preview(load(path))
        goal, _, _ = random_goal(source, PAPER, radius, SEED, index)
        problem = Problem(PAPER, source, goal, budget=policy.settings.horizon)
        trials = run(follow(policy), problem)
        curves.append([psnr(mse) for mse in best_so_far(problem)])
        row = []
        for mark in MARKS:
            best = min(trials[:mark], key=lambda trial: trial.mse)
            untouched = problem.source_mse <= best.mse
            row.append(float(ssim(quantize(source) if untouched else best.image[None].float() / 255, problem.goal)))
        alike.append(row)
    return np.array(curves), np.array(alike)


def held_out(policy: GoalPolicy, shared: Path, radius: float) -> np.ndarray:
    """Mean best PSNR in dB after 0, 1, ... renders of ``policy`` alone, ``(renders + 1,)``."""
    mean: np.ndarray = followed(policy, shared, radius)[0].mean(0)
    return mean


if __name__ == "__main__":
    main()
