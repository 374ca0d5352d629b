"""The searches of Tseng et al.: Adam on a learned proxy of the editor, whose every find costs one real render.

RLPixTuner's baselines. The proxy is descended on from the untouched sliders, 100 updates, and the setting found is
rendered by the real editor; with more renders to spend, the same from random settings, and the best render counts. No
render ever corrects the proxy: the search ends where the proxy, not the editor, is nearest the goal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.policies.proxy import Proxy
from pixward.search.problem import Problem, Solver

ITERATIONS = 100
"""Updates of one descent, as in RLPixTuner's tables."""
RATE = 0.025
"""Adam's first step, in normalised slider units, the range being 2 wide; it falls along a half cosine to a tenth.

The papers do not tell theirs. Of 0.013 to 0.12 this came nearest the goals of six training photos."""
TILE, TILES = 24, (2, 4)
"""A search looks at eight squares of so many pixels a side on an even grid, four along the longer side: on a CPU all
pixels would take minutes. They are cut, not reduced: what acts on neighbouring pixels must find them as they are."""
LOOK_SIDE = 96
"""Longest side of the picture that a look is searched on."""

Objective = Callable[[Tensor], Tensor]
"""``objective(renders (B, 3, H, W))``: how far they are from the goal, a number that carries gradients."""


def proxy_search(proxy: Proxy) -> Solver:
    """The solver that descends on ``proxy``, once for every render of the budget. It moves it to the problem's device.

    The first descent starts from the untouched sliders, the others from anywhere, as ``seed`` draws them.
    """

    def solve(problem: Problem, seed: int) -> None:
        proxy.to(problem.source.device).requires_grad_(False)
        generator = torch.Generator().manual_seed(seed)
        photo, objective = _view(problem)
        start = problem.start
        while problem.left:
            full = descend(proxy, photo, objective, problem.fill(start[None])[0], problem.free)
            problem.render(full[None, problem.free])
            start = 2 * torch.rand(problem.dim, generator=generator) - 1

    return solve


def optimise(proxy: Proxy, source: Tensor, goal: Tensor, start: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Descend on all pixels of a picture, as the papers do; :func:`proxy_search` looks at squares of it.

    Args:
        proxy: of the editor; on the device of ``source``.
        source: the photo, ``(1, 3, H, W)``, at any size: memory grows with it.
        goal: of the same shape.
        start: all sliders, normalised, ``(d,)``.
        iterations: updates of Adam.

    Returns:
        the setting ``(d,)`` where the proxy came nearest the goal.
    """
    return descend(proxy, source, _squares(goal, None), start, range(len(start)), iterations)


def descend(
    proxy: Proxy,
    photo: Tensor,
    objective: Objective,
    start: Tensor,
    free: Sequence[int],
    iterations: int = ITERATIONS,
) -> Tensor:
    """Adam on the sliders ``free`` of ``start`` ``(d,)``, kept within [-1, 1]; the best setting met, ``(d,)``.

    ``photo`` ``(B, 3, H, W)`` is one picture, in pieces or whole: one setting for all of it.
    """
    with torch.enable_grad():
        action = start.detach().clone().requires_grad_()
        held = torch.ones_like(start, dtype=torch.bool)
        held[list(free)] = False
        optimizer = torch.optim.Adam([action], RATE)
        best, least = start, float("inf")
        for step in range(iterations):
            optimizer.param_groups[0]["lr"] = RATE * (0.55 + 0.45 * _cosine(step / iterations))
            distance = objective(proxy(photo, action.expand(len(photo), -1)))
            if float(distance.detach()) < least:
                best, least = action.detach().clone(), float(distance.detach())
            (slope,) = torch.autograd.grad(distance, [action])
            # Adam keeps still what has no slope; a held slider's is thrown away.
            action.grad = slope.masked_fill(held, 0.0)
            optimizer.step()
            with torch.no_grad():
                action.clamp_(-1, 1)
    return best


def _cosine(share: float) -> float:
    return float(torch.cos(torch.tensor(torch.pi * share)))


def _view(problem: Problem) -> tuple[Tensor, Objective]:
    """What a descent looks at, and how it is judged."""
    if (reward := problem.look_reward) is not None:
        scale = min(1.0, LOOK_SIDE / max(problem.source.shape[-2:]))
        photo = F.interpolate(problem.source, scale_factor=scale, mode="area") if scale < 1 else problem.source
        return photo, lambda renders: -reward(_held(renders), problem.goal).sum()
    weight = None if problem.weight is None else tiles(problem.weight)
    return tiles(problem.source), _squares(tiles(problem.goal), weight)


def _squares(goal: Tensor, weight: Tensor | None) -> Objective:
    def objective(renders: Tensor) -> Tensor:
        squares = (_held(renders) - goal) ** 2
        return (squares if weight is None else squares * weight).mean()

    return objective


def _held(renders: Tensor) -> Tensor:
    """``renders`` within [0, 1], with the slopes of what lies outside."""
    return renders + (renders.clamp(0, 1) - renders).detach()


def tiles(image: Tensor) -> Tensor:
    """Squares of one image ``(1, C, H, W)`` on an even grid, ``(8, C, 24, 24)``; a small image itself."""
    height, width = image.shape[-2:]
    rows, columns = TILES if width >= height else TILES[::-1]
    if height < rows * TILE or width < columns * TILE:
        return image
    tops, lefts = _spread(height, rows), _spread(width, columns)
    return torch.cat([image[..., top : top + TILE, left : left + TILE] for top in tops for left in lefts])


def _spread(length: int, count: int) -> list[int]:
    """Where ``count`` tiles begin, in the middles of equal shares of ``length``."""
    return [round((place + 0.5) * length / count - TILE / 2) for place in range(count)]
