"""``edit.json`` to ``edit.md``: written by code alone, losses beside wins."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixward.bench.plots import plot_goal_set
from pixward.bench.settings import NOT_BLACK_BOX
from pixward.bench.summary import CAP
from pixward.bench.words import PAPER, how, paper_note
from pixward.errors import PixwardError
from pixward.files import save_text

Json = Mapping[str, Any]

NAMES = {"psnr": "PSNR", "ssim": "SSIM", "delta_e": "deltaE", "lpips": "LPIPS"}
WORSE_END = {"psnr": "p5", "ssim": "p5", "delta_e": "p95", "lpips": "p95"}
"""The percentile that holds a metric's bad results."""
OPEN_AT = ("10", "30", "200")
"""Check points whose full table is not folded away."""


def write_page(result: Json, out: Path) -> None:
    """Write ``edit.md`` and a curve for every goal set into ``out``; ``out/ablation.json`` is added if it is there."""
    text = page(result, read_ablation(out / "ablation.json"))
    for name, goal in result["goals"].items():
        plot_goal_set(name, goal, out / plot_name(goal))
    save_text(out / "edit.md", text)


def plot_name(goal: Json) -> str:
    """File name of a goal set's curve."""
    return f"edit_{goal['slug']}.png"


def page(result: Json, ablation: Sequence[Json] | None = None) -> str:
    """The whole page as Markdown."""
    parts = [
        "# `pixward bench edit`: how near, for how many renders",
        "Written by `pixward bench edit` from `edit.json`; do not edit by hand, write it again with "
        "`pixward bench edit ... --page-only`.",
        _origin(result),
        how(result),
        "## What was asked and what was reached",
        _gates(result),
        "## Where `hybrid` is not the best black box",
        _losses(result),
    ]
    for name, goal in result["goals"].items():
        parts += _goal_section(name, goal, result)
    parts += ["## Seconds of search", _timing(result)]
    parts += ["## What the network's parts are worth", _ablation(ablation)]
    parts += ["## The paper's own figures", paper_note(result), PAPER]
    return "\n\n".join(part for part in parts if part) + "\n"


# --- origin and method ------------------------------------------------------------------------------------------


def _origin(result: Json) -> str:
    machine, settings = result["hardware"], result["settings"]
    memory = f", {machine['memory_gib']} GiB" if machine["memory_gib"] else ""
    rows = [
        ("date", result["date"]),
        ("commit", f"`{result['commit']}` (code and weights `{result['code']}`)"),
        ("photos", f"{len(result['photos'])} of `{result['folder']}`, in the order of their names"),
        ("seed", settings["seed"]),
        ("preview", f"longest side {settings['preview']} px"),
        ("machine", f"{machine['processor']}, {machine['cores']} cores{memory}, {machine['system']}"),
        ("threads", f"{settings['jobs']} processes, {settings['threads']} torch thread each; timed searches alone"),
        ("software", f"Python {machine['python']}, torch {machine['torch']}, NumPy {machine['numpy']}"),
    ]
    text = f"```\n{result['command']}\n```\n\n" + _table(["", ""], rows)
    codes = {
        code for goal in result["goals"].values() for found in goal["strategies"].values() for code in found["codes"]
    }
    if codes - {result["code"]}:
        text += "\n\n**Not one run:** some units were measured by other code: "
        text += "; ".join(_other_code(result)) + "."
    for what, reason in result["notes"].items():
        text += f"\n\n**Note:** {what}: {reason}."
    return text


def _other_code(result: Json) -> Iterable[str]:
    for name, goal in result["goals"].items():
        for strategy, found in goal["strategies"].items():
            if set(found["codes"]) - {result["code"]}:
                yield f"{name} {strategy} at {', '.join(found['commits'])}"


# --- promises and losses ----------------------------------------------------------------------------------------


def _gates(result: Json) -> str:
    rows = [
        (gate["what"], gate["asked"], gate["reached"], "met" if gate["met"] else "**missed**")
        for gate in result["gates"]
    ]
    if not rows:
        return "This run holds none of the goal sets, strategies and render counts that a promise was made for."
    return _table(["promise", "asked", "reached", ""], rows) + _margins(result)


def _margins(result: Json) -> str:
    lines = []
    for name, goal in result["goals"].items():
        if goal["margin"]:
            lines.append(f"- {name}: {_signed(goal['margin'])}")
    return "\n\n`policy` after 10 renders less `cmaes` after 200, paired, dB:\n\n" + "\n".join(lines) if lines else ""


def _losses(result: Json) -> str:
    rows = []
    for name, goal in result["goals"].items():
        for row in goal["compare"]:
            if row["difference"] <= 0:
                statistic = {"mean": "mean", "p5": "5th percentile"}[row["statistic"]]
                rows.append((name, row["at"], statistic, row["other"], _signed(row)))
    if not any(goal["compare"] for goal in result["goals"].values()):
        return "This run did not measure `hybrid` beside another black box."
    if not rows:
        return "Nowhere at the check points of this run, in the mean or in the 5th percentile."
    return _table(["goals", "renders", "statistic", "better or equal", "hybrid less that, dB"], rows)


def _signed(row: Json) -> str:
    return f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"


# --- one goal set -----------------------------------------------------------------------------------------------


def _goal_section(name: str, goal: Json, result: Json) -> list[str]:
    marks = [str(mark) for mark in result["checkpoints"]]
    parts = [
        f"## {name}",
        f"{goal['photos']} photos; {goal['redraws']} goals were drawn again.",
        f"![PSNR over renders, {name}]({plot_name(goal)})",
        "PSNR after so many renders, mean; the best black box is bold.",
        _over_renders(goal, marks, "mean"),
        "5th percentile:",
        _over_renders(goal, marks, "p5"),
        "Median:",
        _over_renders(goal, marks, "median"),
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


def _over_renders(goal: Json, marks: Sequence[str], statistic: str) -> str:
    rows = []
    best = {mark: _best(goal, mark, statistic) for mark in marks[1:]}
    for strategy, found in goal["strategies"].items():
        cells = []
        for mark in marks:
            cell = f"{found['at'][mark]['psnr'][statistic]:.2f}"
            cell = f"**{cell}**" if best.get(mark) == strategy else cell
            cells.append(cell + _held(strategy, found["at"][mark], goal))
        rows.append((f"`{strategy}`", *cells))
    return _table(["renders", *marks], rows)


def _held(strategy: str, at: Json, goal: Json) -> str:
    return "†" if strategy != "identity" and 2 * at["stopped"] > goal["photos"] else ""


def _best(goal: Json, mark: str, statistic: str) -> str | None:
    able = {name: found for name, found in goal["strategies"].items() if name not in NOT_BLACK_BOX}
    return max(able, key=lambda name: able[name]["at"][mark]["psnr"][statistic], default=None)


def _duel(goal: Json) -> str:
    rows: dict[int, list[str]] = {}
    for row in goal["compare"]:
        rows.setdefault(row["at"], [str(row["at"])]).extend([f"`{row['other']}`", _signed(row)])
    if not rows:
        return ""
    head = ["renders", "best other, mean", "difference", "best other, 5th percentile", "difference"]
    return "`hybrid` less the best other black box, paired over photos, dB:\n\n" + _table(head, rows.values())


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
    return _table([*head, "seconds"], rows)


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
        "render and what the search had recorded:\n\n" + _table(head, rows)
        if rows
        else ""
    )


# --- seconds, ablation, paper -----------------------------------------------------------------------------------


def _timing(result: Json) -> str:
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
    return intro + "\n\n" + _table(head, rows)


def read_ablation(path: Path) -> list[Json] | None:
    """``ablation.json``: ``[{"name", "features", "updates", "psnr_at": {"1": dB, ...}}, ...]`` or None.

    Raises:
        PixwardError: the file is there and is something else.
    """
    if not path.exists():
        return None
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        for row in rows:
            row["name"], row["features"], row["updates"], row["psnr_at"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        want = '[{"name", "features", "updates", "psnr_at": {"1": dB}}]'
        raise PixwardError(f"{path} is not an ablation, {want}: {error}") from None
    return list(rows)


def _ablation(rows: Sequence[Json] | None) -> str:
    if not rows:
        return "Not measured yet: there is no `ablation.json` beside `edit.json`."
    marks = sorted({mark for row in rows for mark in row["psnr_at"]}, key=float)
    lines = []
    for row in rows:
        features = row["features"] if isinstance(row["features"], str) else ", ".join(map(str, row["features"]))
        values = [f"{row['psnr_at'][mark]:.2f}" if mark in row["psnr_at"] else "" for mark in marks]
        lines.append([row["name"], features, f"{row['updates']}", *values])
    head = ["policy", "features", "updates", *(f"{mark} renders" for mark in marks)]
    return (
        "Mean PSNR in dB after so many renders, each trained for as many updates "
        "(`recipes/ablation.py`, which says how):\n\n" + _table(head, lines)
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
