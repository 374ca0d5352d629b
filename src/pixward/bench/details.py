"""The page's details: everything about one goal set, and the seconds of search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pixward.bench.settings import NOT_BLACK_BOX
from pixward.bench.summary import CAP
from pixward.bench.tables import signed, table

Json = Mapping[str, Any]

NAMES = {"psnr": "PSNR", "ssim": "SSIM", "delta_e": "deltaE", "lpips": "LPIPS"}
WORSE_END = {"psnr": "p5", "ssim": "p5", "delta_e": "p95", "lpips": "p95"}
"""The percentile that holds a metric's bad results."""
OPEN_AT = ("10", "30", "200")
"""Check points whose full table is not folded away."""


def plot_name(goal: Json) -> str:
    """File name of a goal set's curve."""
    return f"edit_{goal['slug']}.png"


def goal_section(name: str, goal: Json, result: Json) -> list[str]:
    """All tables of one goal set, as paragraphs."""
    marks = [str(mark) for mark in result["checkpoints"]]
    parts = [
        f"## {name}",
        f"{goal['photos']} photos; {goal['redraws']} goals were drawn again.",
        f"![PSNR over renders, {name}]({plot_name(goal)})",
        "PSNR after so many renders, mean; the best black box is bold.",
        over_renders(goal, marks, "mean"),
        "5th percentile:",
        over_renders(goal, marks, "p5"),
        "Median:",
        over_renders(goal, marks, "median"),
        _duel(goal),
    ]
    for mark in marks[1:]:
        table = _at(goal, mark)
        title = f"After {mark} renders"
        if mark in OPEN_AT:
            parts += [f"### {title}", table]
        else:
            parts.append(f"<details><summary>{title}</summary>\n\n{table}\n\n</details>")
    return [*parts, _honest(goal)]


def over_renders(goal: Json, marks: Sequence[str], statistic: str) -> str:
    """PSNR of every strategy at ``marks``: its ``mean``, ``median`` or ``p5``; the best black box is bold."""
    rows = []
    best = {mark: _best(goal, mark, statistic) for mark in marks[1:]}
    for strategy, found in goal["strategies"].items():
        cells = []
        for mark in marks:
            cell = f"{found['at'][mark]['psnr'][statistic]:.2f}"
            cell = f"**{cell}**" if best.get(mark) == strategy else cell
            cells.append(cell + _held(strategy, found["at"][mark], goal))
        rows.append((f"`{strategy}`", *cells))
    return table(["renders", *marks], rows)


def _held(strategy: str, at: Json, goal: Json) -> str:
    return "†" if strategy != "identity" and 2 * at["stopped"] > goal["photos"] else ""


def _best(goal: Json, mark: str, statistic: str) -> str | None:
    able = {name: found for name, found in goal["strategies"].items() if name not in NOT_BLACK_BOX}
    return max(able, key=lambda name: able[name]["at"][mark]["psnr"][statistic], default=None)


def _duel(goal: Json) -> str:
    rows: dict[int, list[str]] = {}
    for row in goal["compare"]:
        rows.setdefault(row["at"], [str(row["at"])]).extend([f"`{row['other']}`", signed(row)])
    if not rows:
        return ""
    head = ["renders", "best other, mean", "difference", "best other, 5th percentile", "difference"]
    return "`hybrid` less the best other black box, paired over photos, dB:\n\n" + table(head, rows.values())


def _at(goal: Json, mark: str) -> str:
    metrics = [name for name in NAMES if any(name in found["at"][mark] for found in goal["strategies"].values())]
    head = ["strategy"]
    for name in metrics:
        head += [f"{NAMES[name]} mean", "median", "worst 5 %"]
        if name == "psnr":
            head += [f"mean <= {CAP:g}", "exact"]
    rows = []
    for strategy, found in goal["strategies"].items():
        at = found["at"][mark]
        cells = [f"`{strategy}`{_held(strategy, at, goal)}"]
        for name in metrics:
            cells += _metric_cells(name, at.get(name))
        rows.append([*cells, f"{at['seconds']:.3g}"])
    return table([*head, "seconds"], rows)


def _metric_cells(name: str, value: Json | None) -> list[str]:
    width = 5 if name == "psnr" else 3
    if value is None:
        return [""] * width
    digits = {"psnr": 2, "ssim": 4, "delta_e": 2, "lpips": 4}[name]
    mean, low, high = (f"{value[key]:.{digits}f}" for key in ("mean", "low", "high"))
    cells = [f"{mean} [{low}, {high}]", f"{value['median']:.{digits}f}", f"{value[WORSE_END[name]]:.{digits}f}"]
    return [*cells, f"{value['capped']:.2f}", str(value["exact"])] if name == "psnr" else cells


def _honest(goal: Json) -> str:
    rows = []
    for strategy, found in goal["strategies"].items():
        if strategy != "identity":
            counts = (found["worse_than_untouched"], found["kept_untouched"], f"{found['renders']:g}")
            rows.append((f"`{strategy}`", *counts, f"{found['largest_gap']:.3f}"))
    head = [
        "strategy",
        "photos worse than untouched",
        "photos left untouched",
        "renders used, median",
        "largest gap, dB",
    ]
    return (
        "The setting that comes out, rendered again from the six digits that a file holds; the gap is between that "
        "render and what the search had recorded:\n\n" + table(head, rows)
        if rows
        else ""
    )


def timing(result: Json) -> str:
    """Seconds of the timed searches, of all goal sets."""
    settings = result["settings"]
    rows = []
    for name, goal in result["goals"].items():
        slowest = goal["timing"].get("cmaes", {}).get("median")
        for strategy, found in goal["timing"].items():
            ratio = f"{found['median'] / slowest:.2f}" if slowest else ""
            spread = f"{1000 * found['p5']:.0f} to {1000 * found['p95']:.0f}"
            times = [f"{1000 * found['median']:.0f}", spread, ratio, f"{found['renders']:g}", found["photos"]]
            rows.append((name, f"`{strategy}`", *times))
    if not rows:
        return "Not timed in this run."
    head = ["goals", "strategy", "median, ms", "5th to 95th percentile", "x cmaes", "renders", "photos"]
    intro = f"""\
A search with a budget of {settings["timed_renders"]} renders at preview size ({settings["preview"]} px), one thread,
one search at a time after a warm-up, solver already loaded. The seconds in the tables above come from searches with a
budget of {settings["renders"]}, {settings["jobs"]} at a time: until the k-th render was done."""
    return intro + "\n\n" + table(head, rows)
