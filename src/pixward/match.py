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
from pixward.metrics.image import ciede2000, srgb_to_lab, ssim
from pixward.search.problem import Goal, Look, Problem, Solver, Trial, psnr, run
from pixward.strategies import STRATEGIES, build, build_look, load_networks
from pixward.types import Editor
from pixward.unreached import explain, explain_look

__all__ = ["STRATEGIES", "MatchResult", "build", "build_look", "distances", "load_networks", "match"]


@dataclass(frozen=True)
class MatchResult:
    """One setting, and how it was found.

    Attributes:
        editor: the editor's name.
        strategy: the strategy's name; "own" for a solver.
        setting: ``{slider: value in its unit}`` of the best render: what a setting file holds.
        renders: renders used, finite differences included.
        distance: ``{"psnr" (dB), "ssim", "delta_e"}`` of the best render to the goal, both 8 bit; towards a look
            ``{"look"}``, the root of minus its reward.
        source_distance: the same for the untouched photo.
        seconds: time of the search.
        trials: every render in order.
        best: which trial ``setting`` is, counted from 0: the nearest, or the one that the solver settled for; None
            where no render beat the untouched photo, and the setting is the default one.
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
    goal: Tensor | Goal | Look,
    *,
    editor: Editor,
    strategy: str | Solver = "hybrid",
    renders: int = 10,
    locked: Mapping[str, float] | None = None,
    seed: int = 0,
    on_render: Callable[[Trial], None] | None = None,
) -> MatchResult:
    """Find the setting of ``editor`` that makes ``source`` look like ``goal``.

    Returns the best picture seen, which is never worse than the untouched photo: where no render beats that, the
    setting is the default one. Editors should be the identity at their defaults, so the untouched photo costs no
    render; before it is promised, one call that is not counted looks whether that is so. With an editor that changes
    the photo even then, or a slider locked away from its default, the untouched photo cannot be had; the best render
    is returned then, be it better or worse than the photo.

    Args:
        source: the photo at preview size, ``(1, 3, h, w)`` in [0, 1].
        goal: the picture to match, of the same shape; a :class:`Goal` where parts of it count less or not at all; a
            :class:`Look` where it shows another scene. Nobody can measure then how near the photo came to what the
            reference's maker would have done with it, so a look's answer may be the policy's word alone.
        editor: what renders.
        strategy: a key of :data:`STRATEGIES`, or a solver, e.g. ``build(name, editor, networks)``.
        renders: how many times the search may call the editor, 1 or more.
        locked: sliders that must stand at a value, ``{name: value in its unit}``.
        seed: same seed, same search.
        on_render: called after every render, e.g. to show progress.

    Raises:
        PixwardError: an unknown strategy, or one that this editor cannot serve; an editor that returns NaN.
        ValueError: shapes that differ, an unknown or out-of-range slider, nothing left to search.
    """
    if isinstance(strategy, str):
        solver = build_look(strategy, editor) if isinstance(goal, Look) else build(strategy, editor)
    else:
        solver = strategy

    def watch(trial: Trial) -> None:
        if not math.isfinite(trial.mse):
            raise PixwardError(f"the editor {editor.name} returned pixels that are not numbers")
        if on_render:
            on_render(trial)

    problem = Problem(editor, source, goal, budget=renders, locked=locked, on_render=watch)
    start = time.perf_counter()
    trials = run(solver, problem, seed)
    if not trials:
        trials = run(lambda p, _: _render_start(p), problem)
    seconds = time.perf_counter() - start
    return _result(problem, strategy if isinstance(strategy, str) else "own", seconds, tuple(locked or ()))


def _result(problem: Problem, strategy: str, seconds: float, locked: tuple[str, ...]) -> MatchResult:
    trials, space, untouched = tuple(problem.trials), problem.space, quantize(problem.source)
    best, picture = _best(problem)
    action = space.default_action()[0] if best is None else trials[best].action
    setting = space.to_dict(space.denormalize(action.cpu()))
    return MatchResult(
        editor=problem.editor.name,
        strategy=strategy,
        setting=setting,
        renders=len(trials),
        distance=_distance(picture, problem),
        source_distance=_distance(untouched, problem),
        seconds=seconds,
        trials=trials,
        best=best,
        unreached=_unreached(problem, picture, setting, locked),
    )


def _distance(picture: Tensor, problem: Problem) -> dict[str, float]:
    if problem.look is not None:
        return {"look": round(math.sqrt(max(problem.mse(picture), 0.0)), 6)}
    return distances(picture, problem.goal, problem.weight)


def _unreached(
    problem: Problem, picture: Tensor, setting: Mapping[str, float], locked: tuple[str, ...]
) -> dict[str, object]:
    if problem.look is not None:
        return explain_look(picture, problem.goal, problem.space, setting, locked)
    return explain(picture, _counting(picture, problem), problem.space, setting, locked)


def distances(output: Tensor, target: Tensor, weight: Tensor | None = None) -> dict[str, float]:
    """PSNR in dB (100 for equal pictures), SSIM and mean deltaE (CIEDE2000) of two pictures ``(1, 3, H, W)``.

    ``weight`` ``(1, 1, H, W)``: how much each pixel counts. SSIM, which needs whole windows, then takes what counts for
    nothing as equal.
    """
    with torch.no_grad():
        if weight is None:
            weight = torch.ones_like(target[:, :1])
        share = weight / weight.sum()
        error = ((output - target) ** 2).mean(1, keepdim=True)
        whole = torch.where(weight > 0, target, output)
        values: dict[str, Tensor | float] = {
            "psnr": psnr(float((error * share).sum())),
            "ssim": ssim(output, whole),
            "delta_e": (ciede2000(srgb_to_lab(output), srgb_to_lab(target)) * share[:, 0]).sum(),
        }
    return {name: round(float(value), 6) + 0.0 for name, value in values.items()}  # Zero without a minus sign.


def _counting(picture: Tensor, problem: Problem) -> Tensor:
    """The goal, and where it does not count the picture itself."""
    if problem.weight is None:
        return problem.goal
    return torch.where(problem.weight > 0.5, problem.goal, picture)


def _render_start(problem: Problem) -> None:
    """A strategy that gave up without a render still owes a picture: the sliders where they are."""
    problem.render(problem.start[None])


def _best(problem: Problem) -> tuple[int | None, Tensor]:
    """The trial nearest the goal, or None where the default setting is at least as near; and its picture, 8 bit."""
    if problem.settled is not None:
        return problem.settled, problem.trials[problem.settled].image[None].to(problem.goal) / 255
    errors = [trial.mse for trial in problem.trials]
    best = min(range(len(errors)), key=errors.__getitem__)
    free = torch.equal(problem.base.cpu(), problem.space.default_action()[0])
    if free and problem.source_mse <= errors[best]:
        picture = _at_defaults(problem)
        # Not "<", so that a picture that is no number loses.
        if problem.mse(picture) <= errors[best]:
            return None, picture
    return best, problem.trials[best].image[None].to(problem.goal) / 255


def _at_defaults(problem: Problem) -> Tensor:
    """What the default setting gives, ``(1, 3, H, W)``, 8 bit: the photo itself, unless the editor changes it."""
    untouched = quantize(problem.source)
    with torch.no_grad():
        picture = quantize(problem.editor(problem.source, problem.space.defaults(device=problem.source.device)))
    return untouched if float((picture - untouched).abs().max()) < 1.5 / 255 else picture
