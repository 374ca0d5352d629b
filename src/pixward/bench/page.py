"""``edit.json`` to ``edit.md``: written by code alone, losses beside wins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixward.bench import paper, tables
from pixward.bench.details import goal_section, over_renders, plot_name, timing
from pixward.bench.plots import plot_goal_set, plot_long_search
from pixward.bench.settings import BUDGETS
from pixward.bench.tables import signed, table
from pixward.bench.words import how, paper_note
from pixward.errors import PixwardError
from pixward.files import save_text

Json = Mapping[str, Any]

FIGURE_NAME = "edit_long.png"
MORE_PAGES = {
    "looks.md": "goals that show another scene",
    "proxies.md": "the learned proxies and how they were trained",
    "cube.md": "settings as 3D lookup tables",
    "batch.md": "many photos at once",
    "edit_speed.md": "seconds and memory by size",
    "editors.md": "real editors",
    "training.md": "how the networks were trained",
}


@dataclass(frozen=True)
class Beside:
    """What other commands have left beside ``edit.json``.

    Attributes:
        ablation: ``ablation.json`` of ``recipes/ablation.py``, or None.
        speed: ``edit_speed.json`` of ``benchmarks/edit_speed.py``, or None.
        pages: names of further pages that exist, of :data:`MORE_PAGES`.
    """

    ablation: Json | None = None
    speed: Json | None = None
    pages: tuple[str, ...] = field(default=())


def read_beside(out: Path) -> Beside:
    """What lies in ``out``.

    Raises:
        PixwardError: a file that holds something else than its name says.
    """
    ablation = _read(
        out / "ablation.json", ("name", "features", "updates", "photos", "radius", "psnr_at", "ssim_at", "gain")
    )
    speed = _read(out / "edit_speed.json", ("editor", "method", "size", "seconds", "peak_gib", "extrapolated", "note"))
    return Beside(ablation, speed, tuple(name for name in MORE_PAGES if (out / name).exists()))


def _read(path: Path, keys: tuple[str, ...]) -> Json | None:
    if not path.exists():
        return None
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for row in result["rows"]:
            missing = set(keys) - set(row)
            if missing:
                raise KeyError(min(missing))
        result["command"], result["commit"], result["date"]
    except (ValueError, KeyError, TypeError) as error:
        raise PixwardError(
            f"{path} is not what its name says ({error}): run the command that writes it again"
        ) from None
    return result


def write_page(result: Json, out: Path) -> None:
    """Write ``edit.md`` and its pictures into ``out``, with what lies beside, see :class:`Beside`."""
    text = page(result, read_beside(out))
    for name, goal in result["goals"].items():
        plot_goal_set(name, goal, out / plot_name(goal))
    if "figure" in result:
        plot_long_search(result["figure"]["goals"], out / FIGURE_NAME)
    save_text(out / "edit.md", text)


def page(result: Json, beside: Beside | None = None) -> str:
    """The whole page as Markdown."""
    beside = beside or Beside()
    parts = [
        "# `pixward bench edit`: how near, for how many renders",
        "Written by `pixward bench edit` from `edit.json`; do not edit by hand, write it again with "
        "`pixward bench edit ... --page-only`." + _links(beside),
        _origin(result),
        how(result),
        *_paper_tables(result, beside),
        "## What was asked and what was reached",
        _gates(result),
        "## Where `hybrid` is not the best black box",
        _losses(result),
    ]
    for name, goal in result["goals"].items():
        parts += goal_section(name, goal, result)
    parts += ["## Seconds of search", timing(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _links(beside: Beside) -> str:
    links = [f"[{MORE_PAGES[name]}]({name})" for name in beside.pages]
    return f" Further pages: {', '.join(links)}." if links else ""


# --- the paper's tables -----------------------------------------------------------------------------------------


def _paper_tables(result: Json, beside: Beside) -> list[str]:
    theirs = {"paper, FiveK, random": paper.RANDOM, "paper, FiveK, expert C": paper.EXPERT}
    return [
        "## Table 1: random and expert-like goals, all methods",
        tables.results(result, theirs),
        paper_note(result),
        "## Table 2: seconds and memory by size",
        _speed(beside.speed),
        "## Table 3: a second source",
        *_second(result.get("second")),
        "## Table 4: what the network's parts are worth",
        tables.ablation(beside.ablation) if beside.ablation else _absent("ablation.json", "recipes/ablation.py"),
        "## Figure 1: PSNR over renders to 500",
        _figure(result.get("figure")),
    ]


def _absent(name: str, script: str) -> str:
    return f"Not measured yet: there is no `{name}` beside `edit.json`; `{script}` writes it."


def _speed(speed: Json | None) -> str:
    if speed is None:
        return _absent("edit_speed.json", "benchmarks/edit_speed.py")
    return "How it was measured: [edit_speed.md](edit_speed.md). ~ extrapolated.\n\n" + "\n\n".join(
        (tables.speed(speed), tables.gates(speed["gates"]))
    )


def _second(second: Json | None) -> list[str]:
    if second is None:
        return ["Not measured in this run: name a folder of photos from another source with `--second`."]
    intro = f"""\
{len(second["photos"])} photos of `{second["folder"]}`, in the same run. No network saw them, and they come from
elsewhere than all that the networks were trained on. A 5th percentile of so few photos says little."""
    folded = "\n\n".join(
        f"{name}, mean PSNR after so many renders:\n\n{over_renders(goal, _marks(second), 'mean')}"
        for name, goal in second["goals"].items()
    )
    return [
        intro,
        tables.results(second, {"paper, HDR+": paper.HDR_PLUS}),
        "The promises and the losses there:",
        _gates(second),
        _losses(second),
        f"<details><summary>Over renders</summary>\n\n{folded}\n\n</details>",
    ]


def _marks(result: Json) -> list[str]:
    return [str(mark) for mark in result["checkpoints"]]


def _figure(found: Json | None) -> str:
    if found is None:
        return "Not measured in this run: ask for it with `--figure PHOTOS`."
    return f"""\
One search of {found["settings"]["renders"]} renders for each of the first {len(found["photos"])} photos of
`{found["folder"]}`; mean PSNR in dB of the best picture among the first k. `policy` and `gradient` end after
{BUDGETS["policy"]} and {BUDGETS["gradient"]} renders, the proxies after one, and hold their result. {paper.FIGURE}

![PSNR over renders to {found["settings"]["renders"]}]({FIGURE_NAME})

""" + tables.figure(found)


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
    text = f"```\n{result['command']}\n```\n\n" + table(["", ""], rows)
    others = _other_code(result)
    if others:
        text += f"\n\n**Not one run:** some units were measured by other code: {'; '.join(others)}."
    for what, reason in result["notes"].items():
        text += f"\n\n**Note:** {what}: {reason}."
    return text


def _other_code(result: Json) -> list[str]:
    found: dict[str, list[str]] = {}
    for part in (result, result.get("second"), result.get("figure")):
        for name, goal in part["goals"].items() if part else ():
            for strategy, at in goal["strategies"].items():
                if set(at["codes"]) - {result["code"]}:
                    found.setdefault(f"{strategy} at {', '.join(at['commits'])}", []).append(name)
    return [f"{what} ({', '.join(dict.fromkeys(names))})" for what, names in found.items()]


# --- promises and losses ----------------------------------------------------------------------------------------


def _gates(result: Json) -> str:
    if not result["gates"]:
        return "This run holds none of the goal sets, strategies and render counts that a promise was made for."
    return tables.gates(result["gates"]) + _margins(result)


def _margins(result: Json) -> str:
    lines = []
    for name, goal in result["goals"].items():
        if goal["margin"]:
            lines.append(f"- {name}: {signed(goal['margin'])}")
    return "\n\n`policy` after 10 renders less `cmaes` after 200, paired, dB:\n\n" + "\n".join(lines) if lines else ""


def _losses(result: Json) -> str:
    rows = []
    for name, goal in result["goals"].items():
        for row in goal["compare"]:
            if row["difference"] <= 0:
                statistic = {"mean": "mean", "p5": "5th percentile"}[row["statistic"]]
                rows.append((name, row["at"], statistic, row["other"], signed(row)))
    if not any(goal["compare"] for goal in result["goals"].values()):
        return "This run did not measure `hybrid` beside another black box."
    if not rows:
        return "Nowhere at the check points of this run, in the mean or in the 5th percentile."
    return table(["goals", "renders", "statistic", "better or equal", "hybrid less that, dB"], rows)
