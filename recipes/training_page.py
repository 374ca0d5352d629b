"""The page of training curves: ``docs/results/training.md``, ``.json`` and ``.png`` from the logs of finished runs.

    python recipes/training_page.py "chain:paper policy=runs/edit/chain-paper/pretrain" ... --out docs/results

Every argument is ``TITLE=RUN FOLDER``; TITLE ends in ``policy`` or ``response``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pixward.bench.provenance import hardware
from pixward.files import save_atomic, save_text
from pixward.run import read_log

FIGURE = {"policy": ("psnr", "mean PSNR of all decisions, dB"), "response": ("slope", "RMS error of slopes")}
HEAD = """# How the shipped networks were trained

Made by `python recipes/training_page.py` from the runs' own logs; the recipe is `recipes/train_edit.py`, which runs
`pixward train edit --algorithm response` and `--algorithm pretrain` for each editor on 656 photos (bsds500 train and
test, coco images; bsds500/val is never read), one thread each.

A policy's figure is the mean PSNR over the decisions of a pool of running episodes, first guesses and late corrections
alike, goals of radius 0.25 to 1 and 15 % goals from outside the editor: a training figure, not a result. Results on
photos that no network has seen are in [edit.md](edit.md). A response's figure is the root mean square error of its
slopes over pixels; the slopes' own size stands beside it.

What to know when you repeat it: the shipped `chain:paper` policy and both responses came from the same trainers in a
script that drew its tasks from a generator of its own, so the recipe gives other random tasks. The shipped
`chain:photo` policy was begun with 5,500 updates, stopped at 2,000 and resumed with `--steps 3500`, so its learning
rate fell faster from there; the recipe runs 7,000. The `chain:photo` response was trained before saturation was made
to stop at the rim of the gamut. Each run had about one core of a busy 2-core machine: 47 and 22 minutes for the
policies, 30 and 20 for the responses.
"""
CURVES = "\n![curves](training.png)\n"
REINFORCED = """
## Does reinforcement add to supervision?

`OMP_NUM_THREADS=1 python recipes/reinforce.py --shared ../shared/data --runs runs/td3 --out docs/results`: TD3 on the
shipped policy of `chain:paper`; both followed alone on {photos} photos of bsds500/val, mean PSNR in dB.

| policy | radius | 1 render | 5 renders | 10 renders |
|---|---|---|---|---|
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="TITLE=FOLDER")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    logs = {
        title: read_log(Path(folder) / "log.jsonl") for title, _, folder in (r.partition("=") for r in options.runs)
    }
    save_text(options.out / "training.json", json.dumps({"hardware": hardware(), "runs": logs}, indent=1) + "\n")
    save_text(options.out / "training.md", HEAD + table(logs) + CURVES + reinforced(options.out / "reinforce.json"))
    plot(logs, options.out / "training.png")


def table(logs: dict[str, list[dict[str, Any]]]) -> str:
    """First, middle and last log line of every run."""
    rows = ["", "| run | updates | figure | a quarter | half | end |", "|---|---|---|---|---|---|"]
    for title, log in logs.items():
        key, words = FIGURE[title.split()[-1]]
        at = [log[len(log) // 4], log[len(log) // 2], log[-1]]
        values = " | ".join(f"{line[key]:.3g}" if key == "slope" else f"{line[key]:.2f}" for line in at)
        beside = f" (slopes: {log[-1]['true_slope']:.2f})" if key == "slope" else ""
        rows.append(f"| {title} | {log[-1]['step']} | {words}{beside} | {values} |")
    return "\n".join(rows) + "\n"


def reinforced(path: Path) -> str:
    """The table of ``recipes/reinforce.py``, if it has been run."""
    if not path.exists():
        return ""
    rows = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        f"| {row['policy']} | {row['radius']:g} | " + " | ".join(f"{row['psnr_at'][k]:.2f}" for k in ("1", "5", "10"))
        for row in rows
    ]
    return REINFORCED.format(photos=rows[0]["photos"]) + "\n".join(line + " |" for line in lines) + "\n"


def plot(logs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Policies on the left, responses on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for title, log in logs.items():
        kind = title.split()[-1]
        axis = axes[int(kind == "response")]
        axis.plot([line["step"] for line in log], [line[FIGURE[kind][0]] for line in log], label=title)
        axis.set(xlabel="updates", title=FIGURE[kind][1])
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend()

    def write(part: Path) -> None:
        figure.savefig(part, format="png", dpi=110)

    save_atomic(path, write, force=True)


if __name__ == "__main__":
    main()
