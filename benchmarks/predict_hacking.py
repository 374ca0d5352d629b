"""Rewards that are hacked, and what held them; writes docs/results/predict_hacking.json from the logs of the runs.

    python benchmarks/predict_hacking.py --runs runs/predict

Each row is one line of a log: what the monitors print while samples earn more and more. The figures after "held out"
are of the most probable answers on scenes that are not trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from predict_results import Row, plot, write

from pixward.run import read_log

PLACE = Path("docs/results/predict_hacking.json")
BOXES = {
    "reward": "reward of samples",
    "boxes": "boxes",
    "duplicates": "duplicates",
    "false_boxes": "false boxes",
    "ap_class": "held out: AP by class",
    "greedy_duplicates": "held out: duplicates",
}
COLOURS = {
    "reward": "reward of samples",
    "sampled_psnr": "PSNR of samples",
    "entropy": "entropy",
    "kl": "KL",
    "colourfulness": "held out: colourfulness",
    "psnr": "PSNR",
    "delta_e": "deltaE",
    "frechet": "Frechet distance",
    "hue_distance": "distance of hues",
}
RUNS = {
    "detect": {
        "all_samples-0": "duplicates cost 0.3, KL of 0.1",
        "unpunished-0": "duplicates cost nothing, KL of 0.1",
        "naive-0": "every box that fits earns, nothing holds it",
    },
    "colour": {"colourful-0": "nothing holds it", "held-0": "KL of 0.1 from the start"},
}


def lines_of(folder: Path, columns: Mapping[str, str]) -> list[Row]:
    """The first line of a log and every one with an evaluation, in the page's words."""
    lines = read_log(folder / "log.jsonl")
    widest = max(len(line) for line in lines)
    kept = [lines[0], *(line for line in lines[1:] if len(line) == widest)]
    return [{"step": line["step"], **{word: line.get(name) for name, word in columns.items()}} for line in kept]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/predict"))
    options = parser.parse_args()
    tables: dict[str, Any] = {}
    for task, columns in (("detect", BOXES), ("colour", COLOURS)):
        tables["redundant_boxes" if task == "detect" else "rainbows"] = [
            {"run": what, **row}
            for name, what in RUNS[task].items()
            if (options.runs / task / name / "log.jsonl").exists()
            for row in lines_of(options.runs / task / name, columns)
        ]
    command = ["python benchmarks/predict_runs.py", "python benchmarks/predict_hacking.py"]
    write(PLACE, command, {"rows": [], **tables, "notes": NOTES})
    curves = {
        what: read_log(options.runs / "colour" / name / "log.jsonl")
        for name, what in RUNS["colour"].items()
        if (options.runs / "colour" / name / "log.jsonl").exists()
    }
    if curves:
        plot(
            PLACE.with_suffix(".png"), "Colours, rewarded for nothing but colour", curves, ["reward", "psnr", "frechet"]
        )


NOTES = [
    "Held out are the 200 scenes that were looked at while the plan was made; one seed.",
    "Where every box that fits an object earns, however often it was said, policies learn to say it again; the monitor "
    "`duplicates` tells, while the reward only rises. Duplicates that cost nothing earn nothing either, and do no harm "
    "in so short a run.",
    "Colourfulness looks at no truth: a rainbow earns the most. PSNR, deltaE and the distances from the colours of "
    "true pictures are monitors, in no reward.",
]


if __name__ == "__main__":
    main()
