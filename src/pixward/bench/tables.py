"""The tables of the editing paper, in its form: ours beside the figures that it prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pixward.bench import paper
from pixward.bench.stats import RESAMPLES

Json = Mapping[str, Any]

ROWS = (
    *(("identity", 0), ("random", 200), ("greedy", 200), ("cmaes", 200), ("least-squares", 30)),
    *(("least-squares", 200), ("monolithic", 1), ("cascaded", 1), ("policy", 1), ("policy", 10)),
    *(("hybrid", 1), ("hybrid", 10), ("hybrid", 30), ("gradient", 30)),
)
"""Methods and the renders after which the tables show them."""
FIGURE_AT = (10, 30, 60, 100, 200, 500)
SIZES = ("720p", "1K", "2K", "4K")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def signed(row: Json) -> str:
    """A paired difference with its interval."""
    return f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"


def gates(rows: Sequence[Json]) -> str:
    """Promises, asked and reached."""
    cells = [(row["what"], row["asked"], row["reached"], "met" if row["met"] else "**missed**") for row in rows]
    return table(["promise", "asked", "reached", ""], cells)


# --- tables 1 and 3 ---------------------------------------------------------------------------------------------


def results(result: Json, beside: Mapping[str, Mapping[str, paper.Scores]]) -> str:
    """Mean PSNR / SSIM / LPIPS of every method on every goal set of one source; ``beside``: the paper's columns."""
    goals = result["goals"]
    heads = [f"{name} ({goal['photos']})" for name, goal in goals.items()]
    rows = []
    for strategy, mark in _rows(result):
        cells = [_scores(goal["strategies"].get(strategy), mark) for goal in goals.values()]
        if any(cells):
            shown = paper.QUERIES.get(strategy) == mark
            theirs = [
                " / ".join(column[strategy]) if shown and strategy in column else "" for column in beside.values()
            ]
            rows.append([f"`{strategy}`", mark, *cells, *theirs])
    return table(["method", "renders", *heads, *(f"*{title}*" for title in beside)], rows)


def _rows(result: Json) -> list[tuple[str, int]]:
    """:data:`ROWS`, as far as this run's budget goes."""
    last = max(result["checkpoints"])
    rows = [(strategy, min(mark, last)) for strategy, mark in ROWS]
    return [row for row in dict.fromkeys(rows) if row[1] in result["checkpoints"]]


def _scores(found: Json | None, mark: int) -> str:
    if found is None:
        return ""
    at = found["at"][str(mark)]
    parts = [f"{at['psnr']['mean']:.2f}"]
    parts += [f"{at[name]['mean']:.4f}".removeprefix("0") for name in ("ssim", "lpips") if name in at]
    return " / ".join(parts)


# --- figure 1 ---------------------------------------------------------------------------------------------------


def figure(result: Json) -> str:
    """The numbers of the picture of PSNR over many renders, a row for each goal set and method."""
    rows = []
    for name, goal in result["goals"].items():
        for strategy, found in goal["strategies"].items():
            curve = found["curve"]["mean"]
            rows.append(
                [name, f"`{strategy}`", *(f"{curve[mark]:.2f}" if mark < len(curve) else "" for mark in FIGURE_AT)]
            )
    return table(["goals", "method", *map(str, FIGURE_AT)], rows)


# --- table 2 ----------------------------------------------------------------------------------------------------


def speed(result: Json) -> str:
    """Seconds and peak memory by size from ``edit_speed.json``, and the paper's seconds under them."""
    rows = []
    for editor, method in dict.fromkeys((row["editor"], row["method"]) for row in result["rows"]):
        found = {row["size"]: row for row in result["rows"] if (row["editor"], row["method"]) == (editor, method)}
        rows.append([editor, method, *(_time(found.get(size)) for size in SIZES)])
    head = ["editor", "method", *(f"{size} {width} x {height}" for size, (width, height) in result["sizes"].items())]
    theirs = [["its own", f"*{name}*", *(values[size] for size in SIZES)] for name, values in paper.SECONDS.items()]
    shown = [
        row[:2] + [cell for size, cell in zip(SIZES, row[2:], strict=True) if size in result["sizes"]] for row in rows
    ]
    return (
        table(head, shown)
        + "\n\n*RLPixTuner's table 2, seconds (its machine: 48 cores and eight RTX 4090; `hybrid` stands for its own "
        "method):*\n\n" + table(["", "method", *SIZES], theirs)
    )


def _time(row: Json | None) -> str:
    if row is None:
        return ""
    if row["seconds"] is None:
        return row["note"]
    about = "~" if row["extrapolated"] else ""
    return f"{about}{row['seconds']:.3g} s, {row['peak_gib']:.2g} GiB"


# --- table 4 ----------------------------------------------------------------------------------------------------


def ablation(found: Json) -> str:
    """What the parts of the policy's network are worth, in the paper's rows."""
    marks = sorted({mark for row in found["rows"] for mark in row["psnr_at"]}, key=float)
    lines = []
    for row in found["rows"]:
        values = [f"{row['psnr_at'][mark]:.2f} / {row['ssim_at'][mark]:.4f}".replace("/ 0.", "/ .") for mark in marks]
        theirs = " / ".join(paper.ABLATION.get(row["name"], ()))
        gain = signed(row["gain"]) if row["gain"] else ""
        lines.append([row["name"], ", ".join(row["features"]), row["updates"], *values, gain, theirs])
    head = [
        "policy",
        "features",
        "updates",
        *(f"{mark} renders" for mark in marks),
        "over the first row, dB",
        "*paper*",
    ]
    first = found["rows"][0]
    return (
        f"PSNR in dB / SSIM, mean over {first['photos']} photos of bsds500/val, goals chain:paper@{first['radius']:g}, "
        f"each policy after {first['updates']} updates of the same training; the gain at {marks[-1]} renders is paired "
        f"over photos, with a bootstrap interval of 95 % ({RESAMPLES} draws). One training each: its own chance is "
        f"not in the interval. `{found['command']}`, commit {found['commit']}, {found['date']}.\n\n"
        + table(head, lines)
    )
