"""One method at one size for ``edit_speed.py``, alone in its process; prints one line of JSON.

python benchmarks/edit_speed_one.py chain:photo hybrid 1280x720 --photos ../shared/data/photos/hires_cc0
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from pixward.commands.editors import load_editor
from pixward.data.pairs import photo_files
from pixward.editors.fullsize import render_fullsize
from pixward.errors import PixwardError
from pixward.image import preview, to_tensor
from pixward.match import build, match
from pixward.search.problem import Problem, Trial, psnr, run
from pixward.types import Editor

SEED, RADIUS = 0, 0.5
RENDERS, BASELINE_RENDERS, ITERATIONS = 10, 200, 100
PART, PLAIN_PART, PROXY_PART = 50, 11, 2
"""Renders or iterations that are timed where the whole is extrapolated; 11 is a population of CMA-ES at 12 sliders."""
RUNS = 5
GIB = 2**30
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "Cannot allocate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("editor")
    parser.add_argument("method")
    parser.add_argument("size", help="WIDTHxHEIGHT")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--memory", type=float, default=20, metavar="GIB")
    options = parser.parse_args()
    limit = int(options.memory * GIB)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    editor, method = load_editor(options.editor), options.method
    pixels, goal = pair(options.photos, tuple(map(int, options.size.split("x"))), editor)
    base = peak()
    row = {"method": method, "seconds": None, "extrapolated": False, "note": ""}
    try:
        row |= choose(method)(editor, method, pixels, goal)
        row |= {"seconds": sum(row["parts"].values()), "peak_gib": peak(), "base_gib": base}
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in NO_MEMORY):
            raise
        row |= {"peak_gib": None, "note": "out of memory"}
    except PixwardError as error:
        row |= {"peak_gib": None, "note": f"not measured: {error}"}
    print(json.dumps(row))


def peak() -> float:
    """GiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def pair(photos: Path, size: tuple[int, int], editor: Editor) -> tuple[np.ndarray, np.ndarray]:
    """Photo and goal, ``(H, W, 3)`` uint8."""
    photo = Image.open(photo_files([photos])[0]).convert("RGB")
    pixels = np.asarray(ImageOps.fit(photo, size, Image.Resampling.BICUBIC))
    action = RADIUS * (2 * torch.rand(1, len(editor.space), generator=torch.Generator().manual_seed(SEED)) - 1)
    return pixels, render_fullsize(editor, pixels, editor.space.denormalize(action))


Row = dict[str, Any]


def choose(method: str) -> Callable[[Editor, str, np.ndarray, np.ndarray], Row]:
    """The function that measures ``method``."""
    if method in ("hybrid", "policy", "cmaes-preview"):
        return on_preview
    if method == "cmaes-plain":
        return plain
    return on_proxy if method in ("monolithic", "cascaded") else by_strips


# --- on a preview -----------------------------------------------------------------------------------------------


def on_preview(editor: Editor, method: str, pixels: np.ndarray, goal: np.ndarray) -> Row:
    """Previews, a search on them, one render at full size; the median of each part."""
    strategy, renders = (method, RENDERS) if method != "cmaes-preview" else ("cmaes", BASELINE_RENDERS)
    solver = build(strategy, editor)  # A command loads networks once for all its photos.
    parts: dict[str, list[float]] = {"preview": [], "search": [], "render": []}
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        source, target = preview(pixels), preview(goal)
        reduced = time.perf_counter()
        found = match(source, target, editor=editor, strategy=solver, renders=renders, seed=SEED)
        searched = time.perf_counter()
        image = render_fullsize(editor, pixels, editor.space.from_dict(found.setting)[None])
        times = (reduced - start, searched - reduced, time.perf_counter() - searched)
        for name, seconds in zip(parts, times, strict=True):
            parts[name].append(seconds)
    # The first run warms up.
    medians = {name: statistics.median(seconds[1:]) for name, seconds in parts.items()}
    label = f"{strategy}, {renders} renders of a preview"
    return {"method": label, "parts": medians, "psnr": psnr(error(image, goal)), "runs": RUNS}


# --- at full size -----------------------------------------------------------------------------------------------


class Whole(Problem):
    """A problem whose every render is one of the whole photo, by strips, 8 bit; compared in whole as well.

    Solvers that look at renders see a preview of each; the others look at their errors only and pay for nothing more.
    """

    def __init__(self, editor: Editor, pixels: np.ndarray, target: np.ndarray, *, budget: int, shown: bool) -> None:
        super().__init__(editor, preview(pixels), preview(target), budget=budget)
        self.pixels, self.whole, self.shown = pixels, target, shown

    def _render(self, actions: Tensor) -> Tensor:
        images = []
        for action in actions:
            image = render_fullsize(self.editor, self.pixels, self.space.denormalize(action[None]))
            self.trials.append(Trial(action, error(image, self.whole), torch.empty(0)))
            images.append(preview(image) if self.shown else torch.empty(1))
        return torch.cat(images)


def by_strips(editor: Editor, method: str, pixels: np.ndarray, goal: np.ndarray) -> Row:
    """A solver of ours with full-size renders: CMA-ES whole, the others in part."""
    renders = BASELINE_RENDERS if method == "cmaes" else PART
    problem = Whole(editor, pixels, goal, budget=renders, shown=method == "least-squares")
    render_fullsize(editor, pixels, editor.space.defaults())
    start = time.perf_counter()
    run(build(method, editor), problem, SEED)
    seconds = time.perf_counter() - start
    row: Row = {"method": f"{method}, {BASELINE_RENDERS} full-size renders", "runs": 1}
    if len(problem.trials) == BASELINE_RENDERS:
        best = problem.best
        return {**row, "parts": {"search": seconds}, "psnr": psnr(best.mse) if best else None}
    return {**row, **extrapolated(seconds, len(problem.trials), "renders", BASELINE_RENDERS)}


def plain(editor: Editor, method: str, pixels: np.ndarray, goal: np.ndarray) -> Row:
    """CMA-ES whose editor renders the whole picture as one tensor, in part."""
    source, target = to_tensor(pixels), to_tensor(goal)
    with torch.no_grad():
        editor(source, editor.space.defaults())
    errors = []
    start = time.perf_counter()
    actions = torch.rand(PLAIN_PART, len(editor.space), generator=torch.Generator().manual_seed(SEED)) * 2 - 1
    for action in actions:
        # One after another: a whole generation as one batch would only take more memory.
        with torch.no_grad():
            errors.append(float(((editor(source, editor.space.denormalize(action[None])) - target) ** 2).mean()))
    seconds = time.perf_counter() - start
    label = f"cmaes, {BASELINE_RENDERS} full-size renders, plain editor"
    return {"method": label, "runs": 1, **extrapolated(seconds, PLAIN_PART, "renders", BASELINE_RENDERS)}


def on_proxy(editor: Editor, method: str, pixels: np.ndarray, goal: np.ndarray) -> Row:
    """Adam on all pixels of the proxy's render, in part, and one render of the editor."""
    from pixward.policies.proxy import load_proxy
    from pixward.search.proxy import optimise

    try:
        proxy = load_proxy(editor.name, method)
    except FileNotFoundError as missing:
        raise PixwardError(str(missing)) from None
    source, target, start = to_tensor(pixels), to_tensor(goal), editor.space.default_action()[0]
    optimise(proxy, source, target, start, 1)
    begun = time.perf_counter()
    setting = optimise(proxy, source, target, start, PROXY_PART)
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    render_fullsize(editor, pixels, editor.space.denormalize(setting[None]))
    rendered = time.perf_counter() - begun
    row = extrapolated(seconds, PROXY_PART, "iterations", ITERATIONS)
    row["parts"]["render"] = rendered
    return {"method": f"{method}, {ITERATIONS} full-size iterations", "runs": 1, **row}


def extrapolated(seconds: float, done: int, what: str, wanted: int) -> Row:
    """``wanted`` of ``what``, of which ``done`` were timed, all alike."""
    parts = {"search": seconds / done * wanted}
    return {"parts": parts, "psnr": None, "extrapolated": True, "note": f"from {done} of {wanted} {what}"}


def error(image: np.ndarray, goal: np.ndarray) -> float:
    """Mean squared error of two uint8 pictures, in rows so that no copy of the whole is made."""
    total = sum(
        int(np.square(image[top : top + 256].astype(np.int32) - goal[top : top + 256]).sum(dtype=np.int64))
        for top in range(0, len(image), 256)
    )
    return total / image.size / 255**2


if __name__ == "__main__":
    main()
