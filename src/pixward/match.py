"""The main job: a photo, a goal image and an editor in; one slider setting out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pixward.errors import PixwardError
from pixward.image import quantize
from pixward.metrics.image import delta_e, psnr, ssim
from pixward.search.problem import Problem, Solver, Trial, run
from pixward.types import Editor
from pixward.unreached import explain


@dataclass(frozen=True)
class MatchResult:
    """One setting, and how it was found.

    Attributes:
        editor: the editor's name.
        strategy: the strategy's name.
        setting: ``{slider: value in its unit}`` of the best render: what a setting file holds.
        renders: renders used, finite differences included.
        distance: ``{"psnr" (dB), "ssim", "delta_e"}`` of the best render to the goal, both 8 bit.
        source_distance: the same for the untouched photo.
        seconds: time of the search.
        trials: every render in order.
        best: which trial ``setting`` is, counted from 0; None where no render beat the untouched photo.
        unreached: what the sliders could not reach, see :func:`pixward.unreached.explain`.
    """

    editor: str
    strategy: str
    setting: dict[str, float]
    renders: int
    distance: dict[str, float]
    source_distance: dict[str, float]
    seconds: float
    trials: tuple[Trial, ...]
    best: int | None
    unreached: dict[str, object]


def match(
    source: Tensor,
    goal: Tensor,
    *,
    editor: Editor,
    strategy: str = "hybrid",
    renders: int = 10,
    locked: Mapping[str, float] | None = None,
    seed: int = 0,
    on_render: Callable[[Trial], None] | None = None,
) -> MatchResult:
    """Find the setting of ``editor`` that makes ``source`` look like ``goal``.

    Returns the best picture seen, which is never worse than the untouched photo: where no render beats that, the
    setting is the default one. Editors are the identity at their defaults, so the untouched photo costs no render.
    With a slider locked away from its default the untouched photo cannot be reached; the best render is returned then,
    be it better or worse than the photo.

    Args:
        source: the photo at preview size, ``(1, 3, h, w)`` in [0, 1].
        goal: the picture to match, of the same shape.
        editor: what renders.
        strategy: a key of :data:`STRATEGIES`.
        renders: how many times the editor may be called, 1 or more.
        locked: sliders that must stand at a value, ``{name: value in its unit}``.
        seed: same seed, same search.
        on_render: called after every render, e.g. to show progress.

    Raises:
        PixwardError: an unknown strategy, or one that this editor cannot serve; an editor that returns NaN.
        ValueError: shapes that differ, an unknown or out-of-range slider, nothing left to search.
    """
    if strategy not in STRATEGIES:
        raise PixwardError(f"unknown strategy {strategy!r}; choose from: {', '.join(STRATEGIES)}")

    def watch(trial: Trial) -> None:
        if not math.isfinite(trial.mse):
            raise PixwardError(f"the editor {editor.name} returned pixels that are not numbers")
        if on_render:
            on_render(trial)

    problem = Problem(editor, source, goal, budget=renders, locked=locked, on_render=watch)
    solver = STRATEGIES[strategy](editor)
    start = time.perf_counter()
    trials = run(solver, problem, seed)
    if not trials:
        trials = run(lambda p, _: _render_start(p), problem)
    seconds = time.perf_counter() - start
    return _result(problem, strategy, seconds, tuple(locked or ()))


def _result(problem: Problem, strategy: str, seconds: float, locked: tuple[str, ...]) -> MatchResult:
    best, trials, space = _best_index(problem), tuple(problem.trials), problem.space
    untouched = quantize(problem.source)
    picture = untouched if best is None else trials[best].image[None].to(untouched) / 255
    action = space.default_action()[0] if best is None else trials[best].action
    setting = space.to_dict(space.denormalize(action.cpu()))
    return MatchResult(
        editor=problem.editor.name,
        strategy=strategy,
        setting=setting,
        renders=len(trials),
        distance=distances(picture, problem.goal),
        source_distance=distances(untouched, problem.goal),
        seconds=seconds,
        trials=trials,
        best=best,
        unreached=explain(picture, problem.goal, space, setting, locked),
    )


def distances(output: Tensor, target: Tensor) -> dict[str, float]:
    """PSNR in dB (100 for equal pictures), SSIM and mean deltaE (CIEDE2000) of two pictures ``(1, 3, H, W)``."""
    with torch.no_grad():
        values = {"psnr": psnr(output, target), "ssim": ssim(output, target), "delta_e": delta_e(output, target)}
    return {name: round(float(value), 6) for name, value in values.items()}


def _render_start(problem: Problem) -> None:
    """A strategy that gave up without a render still owes a picture: the sliders where they are."""
    problem.render(problem.start[None])


def _best_index(problem: Problem) -> int | None:
    """The trial nearest the goal; None where the untouched photo can be had and is at least as near."""
    errors = [trial.mse for trial in problem.trials]
    best = min(range(len(errors)), key=errors.__getitem__)
    untouched = torch.equal(problem.base.cpu(), problem.space.default_action()[0])
    return None if untouched and problem.source_mse <= errors[best] else best


# --- strategies: what --strategy may be -------------------------------------------------------------------------


def _policy(editor: Editor) -> Solver:
    from pixward.policies.goal import load_policy
    from pixward.policies.weights import find_weights
    from pixward.search.follow import follow

    if find_weights(editor.name, "policy") is None:
        raise PixwardError(f"no policy is shipped for {editor.name}: use --strategy hybrid, or train one")
    return follow(load_policy(editor.name))


def _hybrid(editor: Editor) -> Solver:
    from pixward.policies.goal import load_policy
    from pixward.policies.response import load_response
    from pixward.policies.weights import find_weights
    from pixward.search.hybrid import hybrid

    policy = load_policy(editor.name) if find_weights(editor.name, "policy") else None
    response = load_response(editor.name) if find_weights(editor.name, "response") else None
    if policy is None and response is None:
        return _least_squares(editor)  # No network knows this editor: hybrid's second half works alone.
    return hybrid(policy, response)


def _least_squares(editor: Editor) -> Solver:
    from pixward.search.least_squares import least_squares

    return least_squares


def _cmaes(editor: Editor) -> Solver:
    from pixward.search.cmaes import cmaes

    return cmaes


def _greedy(editor: Editor) -> Solver:
    from pixward.search.greedy import greedy

    return greedy


def _random(editor: Editor) -> Solver:
    from pixward.search.random import random_search

    return random_search


def _gradient(editor: Editor) -> Solver:
    from pixward.search.gradient import gradient

    if not editor.differentiable:
        raise PixwardError(f"strategy gradient needs an editor with gradients, and {editor.name} has none: use hybrid")
    return gradient


STRATEGIES: dict[str, Callable[[Editor], Solver]] = {
    "hybrid": _hybrid,
    "policy": _policy,
    "least-squares": _least_squares,
    "cmaes": _cmaes,
    "greedy": _greedy,
    "random": _random,
    "gradient": _gradient,
}
"""Names of the strategies, and what builds the solver for an editor."""
