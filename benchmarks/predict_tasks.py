"""Panoptic maps, captions and colours: tuned against likelihood alone; writes docs/results/predict_TASK.json.

    OMP_NUM_THREADS=1 python benchmarks/predict_runs.py --only caption     (trains; resumes)
    OMP_NUM_THREADS=1 python benchmarks/predict_tasks.py caption --runs runs/predict

Every policy answers the same held-out scenes, none of which was looked at during training. The controls get every
decoding, and the best of them is what the page compares with; the tuned policies get the most probable answer.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from predict_results import From, curve, policies, write

from pixward.data.synth import Scenes
from pixward.predict.weights import load_policy, load_task
from pixward.types import Decoding

FIRST = 1_000  # of the held-out scenes; training looked at those before
DECODINGS = {
    "most probable": Decoding(0),
    "T 1": Decoding(),
    "T 0.7": Decoding(0.7),
    "T 0.4": Decoding(0.4),
    "top-p 0.4": Decoding(1, 0.4),
    "top-p 0.8": Decoding(1, 0.8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["panoptic", "caption", "colour"])
    parser.add_argument("--runs", type=Path, default=Path("runs/predict"))
    parser.add_argument("--scenes", type=int, default=500)
    options = parser.parse_args()
    held_out = From(Scenes(seed=0, split="held-out"), FIRST)
    results: dict[str, Any] = {}
    for name, file in policies(options.runs / options.task):
        task = load_task(file)
        policy = load_policy(file, task)
        control = name == "mle" or name.startswith("more")
        rows = [
            {"decoding": label, **task.evaluate(policy, held_out, options.scenes, decoding)}
            for label, decoding in DECODINGS.items()
            if control or label in ("most probable", "T 1")
        ]
        results[name] = {"rows": rows, "curve": curve(file.parent)}
        print(name, rows[0], flush=True)
        command = f"python benchmarks/predict_tasks.py {options.task} --scenes {options.scenes}"
        write(Path(f"docs/results/predict_{options.task}.json"), results, command, options.scenes)


if __name__ == "__main__":
    main()
