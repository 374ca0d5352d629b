"""The proxies of Tseng et al. as they ship: how true they are, and what a search on them finds with real renders.

    OMP_NUM_THREADS=1 python benchmarks/proxies.py --photos ../shared/data/photos/bsds500/val

Photos and goals are those of `pixward bench edit`: 256 px previews in the order of their names, random settings from
seed 0, both 8 bit. The networks never saw these photos. About half an hour on one idle core; every finished photo is
kept in runs/proxies.jsonl, and started again the script goes on where it was stopped. Writes proxies.json and
proxies.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixward.bench.goals import Pair, Shot, make_pair
from pixward.bench.paper import RANDOM
from pixward.bench.provenance import commit, hardware, today
from pixward.bench.settings import parse_goals
from pixward.bench.stats import interval
from pixward.commands.editors import load_editor
from pixward.data.pairs import photo_files
from pixward.files import save_text
from pixward.image import quantize
from pixward.match import build
from pixward.metrics.image import delta_e, psnr
from pixward.policies.proxy import KINDS, ProxyEditor, load_proxy
from pixward.policies.response import SimulatedEditor, load_response
from pixward.search.problem import Problem, best_so_far, run
from pixward.search.problem import psnr as decibels
from pixward.search.proxy import ITERATIONS, optimise
from pixward.types import Editor

SEED, LONGEST = 0, 256
ERROR_GOALS = ("chain:paper@0.5", "chain:paper@1", "chain:photo@0.5", "chain:photo@1")
SEARCH_GOALS = ("chain:paper@0.5", "chain:paper@1")
IMITATIONS = ("identity", "monolithic", "cascaded", "response")
STRATEGIES = ("identity", "monolithic", "cascaded", "cmaes", "least-squares", "policy", "hybrid")
MARKS = (1, 5, 10)
WHOLE = 8
"""Photos on which a search on squares is compared with one on every pixel."""

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--errors", type=int, default=50, help="photos on which renders are compared")
    parser.add_argument("--pairs", type=int, default=30, help="photos on which searches are compared")
    parser.add_argument("--run", type=Path, default=Path("runs/proxies.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = photo_files([options.photos])
    rows = finished(options.run)
    options.run.parent.mkdir(parents=True, exist_ok=True)
    with options.run.open("a") as log:
        for key, measure in tasks(files, options.errors, options.pairs):
            if key not in rows:
                started = time.perf_counter()
                rows[key] = measure() | {"took": round(time.perf_counter() - started, 3)}
                log.write(json.dumps({"key": key, "row": rows[key]}) + "\n")
                log.flush()
                print(key, rows[key], flush=True)
    wanted = {key: rows[key] for key, _ in tasks(files, options.errors, options.pairs)}
    result = summary(wanted) | {
        "command": "OMP_NUM_THREADS=1 python benchmarks/proxies.py --photos ../shared/data/photos/bsds500/val "
        f"--errors {options.errors} --pairs {options.pairs}",
        "date": today(),
        "commit": commit(),
        "seed": SEED,
        "hardware": hardware(),
        "load": round(os.getloadavg()[2], 1),
        "seconds": round(sum(row["took"] for row in wanted.values())),
        "photos": {"errors": options.errors, "pairs": options.pairs, "whole": min(WHOLE, options.pairs)},
    }
    save_text(options.out / "proxies.json", json.dumps(result, indent=1) + "\n")
    save_text(options.out / "proxies.md", page(result))


def finished(path: Path) -> dict[str, Row]:
    """What an earlier run has measured; a last line that a stop cut short is passed over."""
    rows = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        rows[entry["key"]] = entry["row"]
    return rows


def tasks(files: list[Path], errors: int, pairs: int) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Every task with its name, in a fixed order; photo after photo, so that the first ones are whole at any moment."""
    for index in range(pairs):
        for goals in SEARCH_GOALS:
            yield f"search {goals} {index}", lambda goals=goals, index=index: searches(files, goals, index)
    for index in range(min(WHOLE, pairs)):
        yield f"whole {index}", lambda index=index: whole(files, SEARCH_GOALS[0], index)
    for goals in ERROR_GOALS:
        for index in range(errors):
            yield f"error {goals} {index}", lambda goals=goals, index=index: truth(files, goals, index)


@lru_cache(maxsize=4)
def pair_of(path: Path, goals: str, index: int) -> Pair:
    return make_pair(Shot(path.name, path), index, parse_goals(goals), seed=SEED, longest=LONGEST, teacher=None)


@lru_cache
def imitation(name: str, editor: str) -> Editor:
    """What stands in for ``editor``."""
    space = load_editor(editor).space
    if name == "response":
        return SimulatedEditor(name, space, load_response(editor))
    return ProxyEditor(name, space, load_proxy(editor, name))


# --- what is measured -------------------------------------------------------------------------------------------


@torch.no_grad()
def truth(files: list[Path], goals: str, index: int) -> Row:
    """How near each imitation comes to a real render, both 8 bit."""
    pair, editor = pair_of(files[index], goals, index), load_editor(parse_goals(goals).editor)
    assert pair.action is not None
    params = editor.space.denormalize(pair.action[None])
    row: Row = {}
    for name in IMITATIONS:
        started = time.perf_counter()
        picture = pair.source if name == "identity" else imitation(name, editor.name)(pair.source, params)
        seconds = time.perf_counter() - started
        row[name] = nearness(quantize(picture), pair.goal) | {"seconds": seconds}
    return row


def nearness(picture: Tensor, goal: Tensor) -> Row:
    return {
        "psnr": float(psnr(picture, goal)),
        "mae": float((picture - goal).abs().mean() * 255),
        "delta_e": float(delta_e(picture, goal)),
    }


def searches(files: list[Path], goals: str, index: int) -> Row:
    """PSNR of the best picture in hand after each number of real renders, and seconds for all of them."""
    pair, editor = pair_of(files[index], goals, index), load_editor(parse_goals(goals).editor)
    row: Row = {}
    for name in STRATEGIES:
        problem = Problem(editor, pair.source, pair.goal, budget=max(MARKS))
        started = time.perf_counter()
        if name != "identity":
            torch.manual_seed(index)
            run(build(name, editor), problem, index)
        seconds = time.perf_counter() - started
        curve = best_so_far(problem)
        row[name] = {str(mark): decibels(curve[min(mark, len(curve) - 1)]) for mark in MARKS}
        row[name]["seconds"] = seconds / max(1, len(problem.trials))
        if name in KINDS:
            row[name]["believed"] = believed(name, problem)
    return row


@torch.no_grad()
def believed(kind: str, problem: Problem) -> float:
    """PSNR that the proxy expects of the first setting found, in dB."""
    params = problem.space.denormalize(problem.trials[0].action[None])
    return decibels(problem.mse(quantize(imitation(kind, problem.editor.name)(problem.source, params))))


def whole(files: list[Path], goals: str, index: int) -> Row:
    """One descent on every pixel of the preview, as the papers do, and one on the squares that the strategy takes."""
    pair, editor = pair_of(files[index], goals, index), load_editor(parse_goals(goals).editor)
    row: Row = {}
    for kind in KINDS:
        problem = Problem(editor, pair.source, pair.goal, budget=2)
        started = time.perf_counter()
        found = optimise(load_proxy(editor.name, kind), pair.source, pair.goal, problem.start)
        middle = time.perf_counter()
        problem.render(found[None])
        single = Problem(editor, pair.source, pair.goal, budget=1)
        again = time.perf_counter()
        run(build(kind, editor), single, index)
        row[kind] = {
            "psnr": decibels(problem.trials[0].mse),
            "seconds": middle - started,
            "squares_psnr": decibels(single.trials[0].mse),
            "squares_seconds": time.perf_counter() - again,
        }
    return row


# --- what is written --------------------------------------------------------------------------------------------


def summary(rows: dict[str, Row]) -> Row:
    """Means over photos, and intervals where they are told."""
    result: Row = {"errors": {}, "searches": {}, "whole": {}}
    for part, names, sets in (("error", IMITATIONS, ERROR_GOALS), ("search", STRATEGIES, SEARCH_GOALS)):
        for goals in sets:
            of = [row for key, row in rows.items() if key.startswith(f"{part} {goals} ")]
            result["errors" if part == "error" else "searches"][goals] = {
                name: means([row[name] for row in of], ("psnr",) if part == "error" else map(str, MARKS))
                for name in names
            }
    of = [row for key, row in rows.items() if key.startswith("whole ")]
    result["whole"] = {kind: means([row[kind] for row in of]) for kind in KINDS}
    return result


def means(rows: list[Row], bounded: Any = ()) -> Row:
    """Mean of every figure (seconds: median), and of ``bounded`` ones a 95 % interval by the bootstrap."""
    out: Row = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        out[name] = round(statistics.median(values) if name.endswith("seconds") else statistics.mean(values), 4)
    for name in bounded:
        out[f"{name}_interval"] = [round(end, 2) for end in interval([row[name] for row in rows])]
    return out


def page(result: Row) -> str:
    """The page as Markdown."""
    machine, photos = result["hardware"], result["photos"]
    return f"""# Learned proxies: how true they are, and what they are worth

`{result["command"]}`

Commit {result["commit"]}, {result["date"]}, seed {result["seed"]}, {machine["processor"]}, \
{machine["cores"]} cores, one thread, {result["seconds"]} seconds in all. The machine's load was {result["load"]:g}: \
read seconds as upper bounds where that is more than its cores. Photos of `bsds500/val`, which no network here was \
trained on, as {LONGEST} px previews; goals as in [edit.md](edit.md).

`recipes/proxy.py` says how the two proxies were trained, on how much less than in the papers, and how long. They are \
baselines: read their figures as those of small networks after minutes on one shared core.

## How near a proxy comes to a real render

{photos["errors"]} photos, a random setting each, within half (`@0.5`) or all (`@1`) of every slider's range. *MAE* in \
8-bit levels, deltaE is CIEDE2000, both lower is better; *ms* is one forward pass, the median. *identity* takes the \
photo for its render. *response* is the network that `hybrid` corrects by real renders; its slopes were trained as well.

{errors_table(result)}

## What a search finds with so many real renders

{photos["pairs"]} photos. PSNR in dB of the best picture in hand, the mean and in brackets its 95 % interval \
(bootstrap over photos). A proxy gets {ITERATIONS} updates of Adam for every render: the first from the untouched \
sliders, the others from random ones. *Expects* is the PSNR that the proxy promises of its first find: the distance \
to what the first render gives is how far the proxy misleads. *s* is for one render with all that leads to it, the \
median.

{search_tables(result)}

For scale, and from other photos (FiveK, random goals, ranges not published): RLPixTuner reports \
{RANDOM["monolithic"][0]} dB for a monolithic and {RANDOM["cascaded"][0]} dB for a cascaded proxy after 100 updates, \
{RANDOM["cmaes"][0]} dB for CMA-ES after 200 renders and {RANDOM["policy"][0]} dB for its own policy after 10.

## Squares of the preview, or all of it

The strategies look at eight squares of 24 px, so that a render takes seconds; the papers descend on every pixel. \
Both on the first {photos["whole"]} pairs of `{SEARCH_GOALS[0]}`, one render:

| proxy | every pixel, dB | s | squares, dB | s |
|---|---:|---:|---:|---:|
{whole_rows(result)}
"""


def errors_table(result: Row) -> str:
    lines = ["| goals | | PSNR, dB | MAE | deltaE | ms |", "|---|---|---:|---:|---:|---:|"]
    for goals, of in result["errors"].items():
        for name, row in of.items():
            low, high = row["psnr_interval"]
            lines.append(
                f"| `{goals}` | {name} | {row['psnr']:.2f} [{low:.2f}, {high:.2f}] | {row['mae']:.2f} "
                f"| {row['delta_e']:.2f} | {1000 * row['seconds']:.0f} |"
            )
    return "\n".join(lines)


def search_tables(result: Row) -> str:
    titles = " | ".join(f"{mark} render{'s' if mark > 1 else ''}" for mark in MARKS)
    parts = []
    for goals, of in result["searches"].items():
        lines = [f"`{goals}`:", "", f"| | {titles} | expects | s |", "|---|" + "---:|" * (len(MARKS) + 2)]
        for name, row in of.items():
            cells = [f"{row[str(m)]:.2f} [{row[f'{m}_interval'][0]:.2f}, {row[f'{m}_interval'][1]:.2f}]" for m in MARKS]
            hopes = f"{row['believed']:.2f}" if "believed" in row else ""
            lines.append(f"| {name} | {' | '.join(cells)} | {hopes} | {row['seconds']:.2f} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def whole_rows(result: Row) -> str:
    return "\n".join(
        f"| {kind} | {row['psnr']:.2f} | {row['seconds']:.1f} | {row['squares_psnr']:.2f} "
        f"| {row['squares_seconds']:.1f} |"
        for kind, row in result["whole"].items()
    )


if __name__ == "__main__":
    main()
