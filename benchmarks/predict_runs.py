"""All training behind docs/results/predict.md, in an order in which the most important runs are finished first.

    OMP_NUM_THREADS=1 python benchmarks/predict_runs.py --out runs/predict --jobs 2

Each run is one call of recipes/predict.py and writes its own folder; runs that are finished are passed over and
stopped ones go on, so the same command may be given again at any time. ``--only detect`` does one task.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (0, 1, 2)
MEAN = ("--rate", "1e-4", "--average", "0.98")  # of rewards and controls alike
OWN = ("--average", "0.98", "--warmup", "60", "--discount", "0", "--every", "50")  # every box judged by itself
RECALL = (*OWN, "--rate", "1e-4", "--kl", "0.1")
MAP = (*OWN, "--reward", "map", "--rate", "1e-4", "--kl", "0.5")  # a confidence is learnt, all else is held

PANOPTIC = (
    *("--discount", "0", "--temperature", "0.7", "--kl", "0.3"),  # every token judged by its own cell
    *("--rate", "1e-4", "--average", "0.95", "--warmup", "20", "--every", "40"),
)


@dataclass(frozen=True)
class Planned:
    """One call of the recipe.

    Attributes:
        task, phase, name: of the recipe; the folder is ``OUT/task/name``.
        steps: updates.
        more: further arguments.
    """

    task: str
    phase: str
    name: str
    steps: int
    more: tuple[str, ...] = ()


def seeds(planned: Planned, count: int = 3) -> list[Planned]:
    """The same for several seeds."""
    return [
        Planned(
            planned.task, planned.phase, f"{planned.name}-{seed}", planned.steps, (*planned.more, "--seed", str(seed))
        )
        for seed in SEEDS[:count]
    ]


ORDER = ("mle", "detect", "caption", "colour", "panoptic", "hacking", "studies")
RUNS = {
    "mle": [
        Planned("detect", "mle", "mle", 6_000),
        Planned("caption", "mle", "mle", 3_000),
        Planned("panoptic", "mle", "mle", 2_500),
        Planned("colour", "mle", "mle", 1_500),
    ],
    "detect": [
        *seeds(Planned("detect", "reward", "map", 400, MAP)),
        *seeds(Planned("detect", "more", "more", 400, (*MEAN, "--every", "50"))),
        *seeds(Planned("detect", "reward", "recall", 300, RECALL)),
    ],
    "caption": [
        *seeds(Planned("caption", "reward", "cider", 300, MEAN)),
        *seeds(Planned("caption", "more", "more", 300, MEAN)),
    ],
    "panoptic": [
        *seeds(Planned("panoptic", "reward", "panoptic", 120, PANOPTIC)),
        *seeds(Planned("panoptic", "more", "more", 120, ("--rate", "1e-4", "--average", "0.95", "--every", "40"))),
    ],
    "colour": [
        *seeds(Planned("colour", "reward", "colourful", 150, (*MEAN, "--every", "50"))),
        *seeds(Planned("colour", "more", "more", 150, (*MEAN, "--every", "50"))),
    ],
    "hacking": [
        Planned("detect", "reward", "unpunished-0", 80, (*RECALL, "--duplicate-cost", "0")),
        Planned("detect", "reward", "naive-0", 150, (*OWN, "--rate", "1e-4", "--duplicate-cost", "-1")),
        Planned("colour", "reward", "held-0", 150, (*MEAN, "--kl", "0.1", "--every", "50")),
    ],
    "studies": [
        Planned("detect", "reward", f"{name}-0", 80, more)
        for name, more in {
            "all_samples": RECALL,
            "false_cost": (*RECALL, "--false-cost", "0.3"),
            "one_sample": (*RECALL, "--estimator", "one_sample"),
            "whole_reward": (*RECALL, "--discount", "whole"),
            "rate_0.001": (*RECALL, "--rate", "0.001"),
            "rate_0.00003": (*RECALL, "--rate", "0.00003"),
        }.items()
    ],
}


def finished(planned: Planned, out: Path) -> bool:
    """Whether the run's log has its last step."""
    log = out / planned.task / planned.name / "log.jsonl"
    return log.exists() and f'"step": {planned.steps}' in log.read_text(encoding="utf-8").splitlines()[-1]


def ready(planned: Planned, out: Path) -> bool:
    """Whether what it begins from is there."""
    start = next(other for other in RUNS["mle"] if other.task == planned.task)
    return planned.phase == "mle" or finished(start, out)


def run(planned: Planned, out: Path) -> int:
    """Train; the output goes to ``OUT/task-name.txt``."""
    command = [sys.executable, str(ROOT / "recipes" / "predict.py"), "--task", planned.task, "--phase", planned.phase]
    command += ["--name", planned.name, "--steps", str(planned.steps), "--out", str(out), *planned.more]
    with (out / f"{planned.task}-{planned.name}.txt").open("a") as told:
        return subprocess.run(command, stdout=told, stderr=told, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode


def prepare(tasks: set[str], out: Path) -> None:
    """The encoder that all policies begin from, and the codes of panoptic maps, unless they are there."""
    recipe = [sys.executable, str(ROOT / "recipes" / "predict.py"), "--out", str(out)]
    if not (out / "encoder" / "policy.safetensors").exists():
        subprocess.run([*recipe, "--phase", "encoder"], check=True)
    if "panoptic" in tasks and not (out / "panoptic" / "codes.safetensors").exists():
        subprocess.run([*recipe, "--task", "panoptic", "--phase", "codes"], check=True)


def work(waiting: list[Planned], out: Path, lock: Lock) -> None:
    """Take what is ready until nothing is left."""
    while waiting:
        with lock:
            taken = next((planned for planned in waiting if ready(planned, out)), None)
            if taken is not None:
                waiting.remove(taken)
        if taken is None:
            time.sleep(5)
            continue
        began = time.monotonic()
        code = 0 if finished(taken, out) else run(taken, out)
        print(f"{taken.task}/{taken.name}: {'done' if code == 0 else f'failed ({code})'}", end=" ")
        print(f"{time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/predict"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", action="append", help="a task; may be given more than once")
    parser.add_argument(
        "--part", action="append", choices=ORDER, help="a part of the plan; may be given more than once"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    parts = [RUNS[part] for part in ORDER if not options.part or part in options.part]
    waiting = [run for runs in parts for run in runs if not options.only or run.task in options.only]
    prepare({planned.task for planned in waiting}, options.out)
    lock = Lock()
    with ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(work, waiting, options.out, lock) for _ in range(options.jobs)]:
            done.result()


if __name__ == "__main__":
    main()
