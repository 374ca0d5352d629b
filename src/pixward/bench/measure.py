"""One unit of the benchmark: one photo, one goal, one strategy, every render watched."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixward.bench.goals import Pair
from pixward.bench.settings import PSNR_ONLY
from pixward.image import quantize
from pixward.search.problem import Problem, Solver, Trial, best_so_far, psnr, run
from pixward.types import Editor

Unit = dict[str, Any]
"""A finished unit as it stands in the run folder, one JSON object a line."""


@dataclass
class Scorer:
    """SSIM, deltaE and, where its weights are at hand, LPIPS of pictures against one goal after another.

    Attributes:
        lpips: file with the LPIPS weights, or None.
    """

    lpips: Path | None = None
    _distance: Callable[[Tensor, Tensor], Tensor] | None = field(default=None, init=False, repr=False)
    _last: tuple[Pair, dict[str, float]] | None = field(default=None, init=False, repr=False)

    def __call__(self, image: Tensor, goal: Tensor) -> dict[str, float]:
        """Scores of ``image`` against ``goal``, both ``(1, 3, H, W)``."""
        from pixward.metrics.image import delta_e, ssim

        with torch.no_grad():
            scores = {"ssim": float(ssim(image, goal)), "delta_e": float(delta_e(image, goal))}
            if self.lpips is not None:
                scores["lpips"] = float(self._load(self.lpips)(image, goal))
        return {name: round(value, 6) for name, value in scores.items()}

    def untouched(self, pair: Pair) -> dict[str, float]:
        """Scores of the photo itself, which all strategies share."""
        if self._last is None or self._last[0] is not pair:
            self._last = pair, self(pair.counting(quantize(pair.source)), pair.goal)
        return self._last[1]

    def _load(self, path: Path) -> Callable[[Tensor, Tensor], Tensor]:
        if self._distance is None:
            from pixward.metrics.lpips import LPIPS

            self._distance = LPIPS.load(path)
        return self._distance


def measure(
    pair: Pair,
    editor: Editor,
    solver: Solver,
    *,
    renders: int,
    budget: int,
    seed: int,
    marks: list[int],
    scorer: Scorer,
) -> Unit:
    """Search once with ``budget`` renders and look at the best picture in hand after each.

    Curves run to ``renders``: a search that ends earlier keeps its last value. The picture in hand before the first
    render is the untouched photo, which is also returned where no render beats it.
    """
    times: list[float] = []
    problem = Problem(
        editor, pair.source, pair.target, budget=budget, on_render=lambda _: times.append(time.perf_counter())
    )
    start = time.perf_counter()
    trials = run(solver, problem, seed)
    seconds = time.perf_counter() - start
    errors = best_so_far(problem)
    errors += errors[-1:] * (renders + 1 - len(errors))
    at = _at_marks(problem, pair, marks, scorer)
    for mark in marks:
        at[str(mark)]["seconds"] = round(times[mark - 1] - start if 0 < mark <= len(times) else seconds, 5)
    at["0"]["seconds"] = 0.0
    best = problem.best
    action = best.action if best is not None and best.mse < problem.source_mse else problem.space.default_action()[0]
    setting = problem.space.to_dict(problem.space.denormalize(action))
    return {
        "photo": pair.photo,
        "index": pair.index,
        "redraws": pair.redraws,
        "size": list(pair.source.shape[2:]),
        "renders": len(trials),
        "psnr": [round(psnr(error), 4) for error in errors],
        "at": at,
        "setting": setting,
        "rendered_again": round(_psnr_of(setting, editor, problem), 4),
    }


def _at_marks(problem: Problem, pair: Pair, marks: list[int], scorer: Scorer) -> dict[str, dict[str, float]]:
    """Scores of the best picture in hand at each of ``marks``, taken only where that picture has changed."""
    at: dict[str, dict[str, float]] = {}
    held: Trial | None = None
    scores = scorer.untouched(pair)
    for mark in marks:
        best = min(problem.trials[:mark], key=lambda trial: trial.mse, default=None)
        if mark in PSNR_ONLY:
            at[str(mark)] = {}
            continue
        if best is not None and best is not held and best.mse < problem.source_mse:
            scores, held = scorer(pair.counting(best.image[None].float() / 255), pair.goal), best
        at[str(mark)] = dict(scores)
    return at


def _psnr_of(setting: dict[str, float], editor: Editor, problem: Problem) -> float:
    """What a person gets who renders the setting as a file holds it: the search's own figure must hold."""
    with torch.no_grad():
        image = quantize(editor(problem.source, editor.space.from_dict(setting)[None]))
    return psnr(problem.mse(image))


def time_search(pair: Pair, editor: Editor, solver: Solver, *, renders: int, seed: int) -> Unit:
    """Seconds of one search of ``renders`` renders, nothing else running, all in one thread."""
    problem = Problem(editor, pair.source, pair.target, budget=renders)
    start = time.perf_counter()
    run(solver, problem, seed)
    seconds = time.perf_counter() - start
    return {"photo": pair.photo, "index": pair.index, "seconds": round(seconds, 6), "renders": len(problem.trials)}
