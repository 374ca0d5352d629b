"""The main job: a photo, a goal image and an editor in; one slider setting out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixward.errors import PixwardError
from pixward.image import quantize
from pixward.metrics.image import ciede2000, srgb_to_lab, ssim
from pixward.search.problem import Goal, Problem, Solver, Trial, psnr, run
from pixward.types import Editor
from pixward.unreached import explain

if TYPE_CHECKING:
    from pixward.policies.goal import Deciding
    from pixward.policies.response import Responding


@dataclass(frozen=True)
class MatchResult:
    """One setting, and how it was found.

    Attributes:
        editor: the editor's name.
        strategy: the strategy's name; "own" for a solver.
        setting: ``{slider: value in its unit}`` of the best render: what a setting file holds.
        renders: renders used, finite differences included.
        distance: ``{"psnr" (dB), "ssim", "delta_e"}`` of the best render to the goal, both 8 bit.
        source_distance: the same for the untouched photo.
        seconds: time of the search.
        trials: every render in order.
        best: which trial ``setting`` is, counted from 0; None where no render beat the untouched photo, and the
            setting is the default one.
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
    goal: Tensor | Goal,
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
        goal: the picture to match, of the same shape; a :class:`Goal` where parts of it count less or not at all.
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
    solver = build(strategy, editor) if isinstance(strategy, str) else strategy

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


def build(strategy: str, editor: Editor, networks: Path | None = None) -> Solver:
    """The solver called ``strategy`` for ``editor``, with its shipped networks or those in the folder ``networks``.

    Raises:
        PixwardError: an unknown strategy, or one that cannot serve this editor; networks that do not fit.
    """
    if strategy not in STRATEGIES:
        raise PixwardError(f"unknown strategy {strategy!r}; choose from: {', '.join(STRATEGIES)}")
    return STRATEGIES[strategy](editor, networks)


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
        distance=distances(picture, problem.goal, problem.weight),
        source_distance=distances(untouched, problem.goal, problem.weight),
        seconds=seconds,
        trials=trials,
        best=best,
        unreached=explain(picture, _counting(picture, problem), space, setting, locked),
    )


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


# --- strategies: what --strategy may be -------------------------------------------------------------------------


def _policy(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.follow import follow

    policy, _ = load_networks(editor, networks)
    if policy is None:
        raise PixwardError(
            f"no policy is shipped for {editor.name}: use --strategy least-squares, "
            "or train one (pixward train edit) and name its folder with --networks"
        )
    return follow(policy)


def _hybrid(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.hybrid import hybrid

    policy, response = load_networks(editor, networks)
    if policy is None and response is None:
        return _least_squares(editor)  # No network knows this editor: hybrid's second half works alone.
    return hybrid(policy, response)


def load_networks(editor: Editor, folder: Path | None = None) -> tuple[Deciding | None, Responding | None]:
    """The policy and the response for ``editor``: those in a run ``folder`` of ``pixward train edit``, or the shipped.

    An editor without a policy or response of its own, but with a calibrated map to ``chain:photo``, gets the chain's
    through the map. Raw files (``NAME:raw``) get the networks of pictures where there are no others: the editor's
    sliders do to its own render of a raw file much what they do to a picture. Further sliders, which come last, are
    left alone by networks that do not know them.

    Raises:
        PixwardError: the folder holds neither, or networks for another number of sliders.
    """
    from pixward.policies.goal import load_policy
    from pixward.policies.mapped import MappedPolicy, MappedResponse, load_map
    from pixward.policies.padded import PaddedPolicy, PaddedResponse
    from pixward.policies.response import load_response
    from pixward.policies.weights import find_weights

    def where(kind: str) -> str:
        if folder is not None:
            return str(folder / f"{kind}.safetensors")
        return editor.name if find_weights(editor.name, kind) else editor.name.removesuffix(":raw")

    try:
        found = {kind: find_weights(where(kind), kind) for kind in ("policy", "response", "map")}
        policy: Deciding | None = load_policy(where("policy")) if found["policy"] else None
        response: Responding | None = load_response(where("response")) if found["response"] else None
        if found["map"] and (policy is None or response is None):
            slider_map = load_map(where("map"))
            policy = policy or MappedPolicy(load_policy("chain:photo"), slider_map)
            response = response or MappedResponse(slider_map)
    except ValueError as error:
        raise PixwardError(str(error)) from None
    if folder is not None and policy is None and response is None:
        raise PixwardError(f"{folder} holds no policy.safetensors or response.safetensors: name a run folder")
    may_lack = editor.name.endswith(":raw") or any("." in name for name in editor.space.names)
    rest = {}
    for network in (policy, response):
        if network is not None:
            known, there = network.settings.sliders, len(editor.space)
            if known > there or (known < there and not may_lack):
                raise PixwardError(
                    f"the networks know {known} sliders, and {editor.name} has {there}: train networks for this editor"
                )
            rest[known] = editor.space.default_action()[0, known:]
    if policy is not None and policy.settings.sliders < len(editor.space):
        policy = PaddedPolicy(policy, rest[policy.settings.sliders])
    if response is not None and response.settings.sliders < len(editor.space):
        response = PaddedResponse(response, rest[response.settings.sliders])
    return policy, response


def _least_squares(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.least_squares import least_squares

    return least_squares


def _cmaes(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.cmaes import cmaes

    return cmaes


def _greedy(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.greedy import greedy

    return greedy


def _random(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.random import random_search

    return random_search


def _gradient(editor: Editor, networks: Path | None = None) -> Solver:
    from pixward.search.gradient import gradient

    if not editor.differentiable:
        raise PixwardError(f"strategy gradient needs an editor with gradients, and {editor.name} has none: use hybrid")
    return gradient


STRATEGIES: dict[str, Callable[..., Solver]] = {
    "hybrid": _hybrid,
    "policy": _policy,
    "least-squares": _least_squares,
    "cmaes": _cmaes,
    "greedy": _greedy,
    "random": _random,
    "gradient": _gradient,
}
"""Names of the strategies, and what builds the solver: ``(editor, folder of networks or None)``."""
