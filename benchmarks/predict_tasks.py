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

from predict_results import Later, Row, curve, digest, family, measured_before, plot, policies, together, write

from pixward.predict.panoptic import PanopticTask, ceiling
from pixward.predict.weights import load_policy, load_task
from pixward.types import Decoding

FIRST = 1_000  # of the held-out scenes; training looked at those before
DECODINGS = {
    "most probable": Decoding(0),
    "T 1": Decoding(),
    "T 0.5": Decoding(0.5),
    "top-p 0.5": Decoding(1, 0.5),
}

CONTROL = "`mle` is where the others start from; `more` is the control, the same number of further steps of likelihood."
NOTES = {
    "panoptic": [
        CONTROL,
        "The codes hold things badly: their own ceiling is low there, and stuff makes most of every policy's quality.",
        "The tuned runs are short (120 updates of 64 maps). Where the ranges of seeds overlap, nothing was shown.",
    ],
    "caption": [
        CONTROL,
        "`truth` is the share of captions that tell a fact and no false one; no reward looks at it. The reward is paid "
        "for words that references share: tuned captions use fewer different words.",
        "`reference_cider_d` is what a true caption earns against the four others of its picture.",
    ],
    "colour": [
        CONTROL,
        "The reward is at most ln 7 = 1.95 and looks at no truth; `true_colourfulness` is that of the real pictures. "
        "What it costs stands in PSNR, deltaE, the Frechet distance of colours and the distance of hues.",
    ],
}
PLOTTED = {
    "panoptic": ["pq", "reward", "segments"],
    "caption": ["cider_d", "truth", "words", "reward"],
    "colour": ["colourfulness", "psnr", "delta_e"],
}


def summary(measured: dict[str, dict[str, Any]]) -> list[Row]:
    """One row for each family of seeds and decoding."""
    rows = []
    for name in dict.fromkeys(family(name) for name in measured):
        members = [parts["rows"] for member, parts in measured.items() if family(member) == name]
        for at, row in enumerate(members[0]):
            figures = [{key: value for key, value in member[at].items() if key != "decoding"} for member in members]
            rows.append({"policy": name, "decoding": row["decoding"], **together(figures, list(figures[0]))})
    return rows


def measured_of(file: Path, name: str, held_out: Later, scenes: int) -> dict[str, Any]:
    """Every figure of one policy."""
    task = load_task(file)
    policy = load_policy(file, task)
    control = name == "mle" or name.startswith("more")
    rows = [
        {"decoding": label, **task.evaluate(policy, held_out, scenes, decoding)}
        for label, decoding in DECODINGS.items()
        if control or label == "most probable"
    ]
    return {"weights": digest(file), "rows": rows}


def codes_alone(folder: Path, held_out: Later, scenes: int) -> list[Row]:
    """What the truth has, told in the codes: no policy can be better."""
    task = load_task(folder / "mle" / "policy.safetensors")
    assert isinstance(task, PanopticTask)
    figures = ceiling(task.codes, held_out, scenes, "bf16")
    return [
        {"policy": "the truth in codes", "decoding": "", "seeds": 1, **{k: round(v, 4) for k, v in figures.items()}}
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["panoptic", "caption", "colour"])
    parser.add_argument("--runs", type=Path, default=Path("runs/predict"))
    parser.add_argument("--scenes", type=int, default=300)
    options = parser.parse_args()
    held_out, place = Later(FIRST), Path(f"docs/results/predict_{options.task}.json")
    measured: dict[str, dict[str, Any]] = {}
    for name, file in policies(options.runs / options.task):
        known = measured_before(place, name, file, options.scenes)
        measured[name] = known or measured_of(file, name, held_out, options.scenes)
        print(name, measured[name]["rows"][0], flush=True)
    curves = {name: curve(file.parent) for name, file in policies(options.runs / options.task) if name != "mle"}
    command = [
        f"python benchmarks/predict_runs.py --only {options.task}",
        f"python benchmarks/predict_tasks.py {options.task} --scenes {options.scenes}",
    ]
    rows = summary(measured)
    if options.task == "panoptic":
        rows += codes_alone(options.runs / "panoptic", held_out, options.scenes)
    parts = {
        "rows": rows,
        "notes": NOTES[options.task],
        "scenes": options.scenes,
        "measured": measured,
        "curves": curves,
    }
    write(place, command, parts)
    plot(place.with_suffix(".png"), options.task.capitalize(), curves, PLOTTED[options.task])


if __name__ == "__main__":
    main()
