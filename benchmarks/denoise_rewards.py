"""RLCM against DDPO: one table and one set of curves for each reward; writes denoise_rewards.json and .png.

    OMP_NUM_THREADS=1 python benchmarks/denoise_runs.py --part rlcm --part ddpo
    python benchmarks/denoise_rewards.py --runs runs/denoise/reward

Reads the logs of the runs, whose figures are of the same 66 pictures (33 animals that are tuned on) and 36 pictures (9
that are not) at fixed seeds. Seconds are of CPU time on one core, without the looks. Curves between looks are straight.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predict_results import Row, write

from pixward.files import save_atomic
from pixward.run import read_log

PLACE = Path("docs/results/denoise_rewards.json")
REWARDS = {
    "compress": "compression, -kB above a blank picture",
    "incompress": "incompression, kB above a blank picture",
    "colour": "colourfulness, at most ln 7 = 1.95",
    "align": "alignment, log-probability of the prompt",
}
ALGORITHMS = ("ddpo", "rlcm")
AXES = {"queries": "pictures judged", "calls": "network evaluations", "seconds": "CPU seconds of one core"}
COLOURS = {"ddpo": "#0072B2", "rlcm": "#D55E00"}


@dataclass(frozen=True)
class Curve:
    """One run's looks, each list as long as the others: what was spent, and what was seen."""

    queries: list[float]
    calls: list[float]
    seconds: list[float]
    figures: dict[str, list[float]]

    def at(self, axis: str, where: float, figure: str = "train/reward") -> float | None:
        """The figure after ``where`` of an axis, between two looks; None where the run did not get that far."""
        along, values = getattr(self, axis), self.figures[figure]
        if where > along[-1] * 1.001:
            return None
        for index in range(1, len(along)):
            if where <= along[index] * 1.001:
                share = (where - along[index - 1]) / (along[index] - along[index - 1])
                return values[index - 1] + min(1.0, share) * (values[index] - values[index - 1])
        return values[0]

    def reached(self, goal: float, axis: str, figure: str = "train/reward") -> float | None:
        """How much of an axis it takes until the figure is ``goal``; None if it never is."""
        along, values = getattr(self, axis), self.figures[figure]
        for index in range(1, len(along)):
            if values[index] >= goal:
                gap = values[index] - values[index - 1]
                share = 1.0 if gap <= 0 else max(0.0, (goal - values[index - 1]) / gap)
                return along[index - 1] + share * (along[index] - along[index - 1])
        return None


def read_curve(folder: Path) -> Curve:
    """The looks of a run's log."""
    seconds, rows = 0.0, []
    for line in read_log(folder / "log.jsonl"):
        if "train/reward" in line:
            seconds += line["cpu_seconds"]
            rows.append({**line, "spent": seconds})
    names = [name for name in rows[-1] if "/" in name and not name.startswith("reward/")]
    return Curve(
        [row["queries"] for row in rows],
        [row.get("network_calls", 0) for row in rows],
        [row["spent"] for row in rows],
        {name: [row[name] for row in rows] for name in names},
    )


def curves_of(runs: Path, reward: str, algorithm: str) -> list[Curve]:
    """Of all finished seeds."""
    folders = [runs / f"{reward}-{algorithm}-{seed}" for seed in range(3)]
    return [read_curve(folder) for folder in folders if (folder / "unet.safetensors").exists()]


def spread(values: Sequence[float | None]) -> str | None:
    """Mean and range over seeds; None where a seed has no value."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return f"{statistics.fmean(known):.3g} ({min(known):.3g} to {max(known):.3g})"


def main_rows(found: Mapping[str, Sequence[Curve]]) -> list[Row]:
    """What both reach at equal cost, for one reward."""
    every = [curve for curves in found.values() for curve in curves]
    budget = {axis: min(getattr(curve, axis)[-1] for curve in every) for axis in AXES}
    rows = []
    for algorithm, curves in found.items():
        row: Row = {"algorithm": algorithm.upper(), "seeds": len(curves)}
        row["before"] = spread([curve.figures["train/reward"][0] for curve in curves])
        for axis, words in AXES.items():
            at = [curve.at(axis, budget[axis]) for curve in curves]
            row[f"at {budget[axis]:.0f} {words}"] = spread(at) or "ended before"
        row["at its end"] = spread([curve.figures["train/reward"][-1] for curve in curves])
        row["after pictures"] = curves[0].queries[-1]
        row["after seconds"] = spread([curve.seconds[-1] for curve in curves])
        rows.append(row)
    return rows


def race(found: Mapping[str, Sequence[Curve]], reward: str) -> Row:
    """How soon RLCM is where DDPO ended, by gain over the own start and by the reward itself."""
    ddpo, rlcm = found["ddpo"], found["rlcm"]
    goal = statistics.fmean(curve.figures["train/reward"][-1] for curve in ddpo)
    gain = goal - statistics.fmean(curve.figures["train/reward"][0] for curve in ddpo)
    spent = statistics.fmean(curve.seconds[-1] for curve in ddpo)
    starts = [curve.figures["train/reward"][0] for curve in rlcm]
    own = [curve.reached(first + gain, "seconds") for curve, first in zip(rlcm, starts, strict=True)]
    same = [curve.reached(goal, "seconds") for curve in rlcm]
    row: Row = {
        "reward": REWARDS[reward],
        "DDPO's end": round(goal, 4),
        "DDPO's gain": round(gain, 4),
        "DDPO's seconds": round(spent, 1),
    }
    if min(starts) >= goal:
        row |= {"RLCM's seconds to DDPO's end": "starts above it"}
    else:
        row |= {"RLCM's seconds to DDPO's end": spread(same), "of DDPO's time": share(spent, same)}
    row["accuracy then: DDPO"] = round(statistics.fmean(curve.figures["train/accuracy"][-1] for curve in ddpo), 3)
    if all(value is not None for value in same):
        there = [curve.at("seconds", value or 0.0, "train/accuracy") for curve, value in zip(rlcm, same, strict=True)]
        row["accuracy then: RLCM"] = spread(there)
    if gain <= 0:
        return {**row, "RLCM's seconds to DDPO's gain": "DDPO gained nothing"}
    return {**row, "RLCM's seconds to DDPO's gain": spread(own), "of DDPO's time, for the gain": share(spent, own)}


def share(spent: float, seconds: Sequence[float | None]) -> str:
    """``seconds`` as a share of what DDPO ``spent``."""
    late = [value for value in seconds if value is not None]
    if len(late) < len(seconds):
        return f"not reached by {len(seconds) - len(late)} of {len(seconds)} seeds"
    return f"1/{spent / max(statistics.fmean(late), 1e-9):.1f}"


def carried(found: Mapping[str, Sequence[Curve]], reward: str) -> list[Row]:
    """What animals that were tuned on gained, and those that were not."""
    rows = []
    for algorithm, curves in found.items():
        row: Row = {"reward": reward, "algorithm": algorithm.upper()}
        for name in ("train", "held-out"):
            for figure in ("reward", "accuracy", "diversity", "blank"):
                values = [curve.figures[f"{name}/{figure}"] for curve in curves]
                if not any(map(any, values)) and figure == "diversity":
                    continue  # one picture of a prompt
                before, after = (statistics.fmean(value[at] for value in values) for at in (0, -1))
                row[f"{name}: {figure}"] = f"{before:.3g} -> {after:.3g}"
        rows.append(row)
    return rows


def draw(place: Path, found: Mapping[str, Mapping[str, Sequence[Curve]]]) -> None:
    """A row of panels for each reward, a column for each axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(12, 2.9 * len(found)), layout="constrained")
    FigureCanvasAgg(drawn)
    for row, (reward, algorithms) in enumerate(found.items()):
        for column, (axis, words) in enumerate(AXES.items()):
            axes = drawn.add_subplot(len(found), 3, row * 3 + column + 1)
            for algorithm, curves in algorithms.items():
                for index, curve in enumerate(curves):
                    label = algorithm.upper() if index == 0 else None
                    points = curve.figures["train/reward"]
                    axes.plot(getattr(curve, axis), points, color=COLOURS[algorithm], lw=1.3, label=label)
                    axes.plot(
                        getattr(curve, axis), curve.figures["held-out/reward"], color=COLOURS[algorithm], lw=0.8, ls=":"
                    )
            axes.set(xlabel=words, ylabel=reward if column == 0 else "")
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
    drawn.axes[0].legend(fontsize=8, frameon=False)
    drawn.suptitle("Reward of fixed-seed pictures; dotted: of animals that were not tuned on")
    save_atomic(place, lambda part: drawn.savefig(str(part), format="png", dpi=100), force=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/denoise/reward"))
    parser.add_argument("--place", type=Path, default=PLACE)
    options = parser.parse_args()
    found = {
        reward: {algorithm: curves_of(options.runs, reward, algorithm) for algorithm in ALGORITHMS}
        for reward in REWARDS
    }
    found = {reward: both for reward, both in found.items() if all(both.values())}
    tables: dict[str, Any] = {"rows": [race(both, reward) for reward, both in found.items()]}
    for reward, both in found.items():
        tables[reward] = main_rows(both)
    tables["carried_over_to_animals_that_were_not_tuned_on"] = [
        row for reward, both in found.items() for row in carried(both, reward)
    ]
    command = [
        "OMP_NUM_THREADS=1 python benchmarks/denoise_runs.py --part rlcm --part ddpo",
        "python benchmarks/denoise_rewards.py",
    ]
    write(options.place, command, {**tables, "notes": NOTES})
    draw(options.place.with_suffix(".png"), found)


NOTES = [
    "Both judge sets of 32 pictures with one update each, tune all weights of the UNet, without guidance, and come "
    "from one teacher: RLCM tunes what was distilled from it. Rates (see below) were chosen by another seed for "
    "compression, which served incompression and colour as well, and for alignment, where RLCM's was lowered after its "
    "first run with seed 0 had collapsed.",
    "The two do not start at the same reward, so DDPO's end is compared with as it is and as a gain over the own "
    "start. Columns `at ...` are at equal cost, the most that all runs got to.",
    "A picture costs DDPO 100 network evaluations, 50 to draw and 50 to learn from, and RLCM 16: 6.3 times as many. "
    "What is beyond that comes from RLCM gaining more by a picture. Guidance by two calls would double DDPO's cost.",
    "RLCM's seconds are read between looks, the first of which is after 320 pictures, 15 seconds. Not counted is what "
    "it took to distil the consistency model: 2,400 steps, 19 minutes of one core.",
    "Alignment is where RLCM does not win the race by gain: it starts far above DDPO, near the most there is, and two "
    "of three seeds gain less than DDPO does on average, whose own seeds end between a loss and a large gain. On other "
    "animals than were tuned on, one seed of RLCM ends below its start.",
    "640 pictures are few; ddpo-pytorch takes 25,600 and more, on eight GPUs. What is measured is what the same gain "
    "costs in this small world, not where either algorithm ends. RLCM's paper claims up to 17 times for aesthetics.",
    "A higher reward is not a better picture: see hacking below. At DDPO's end both still draw what is asked.",
]


if __name__ == "__main__":
    main()
