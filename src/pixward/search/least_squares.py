"""Levenberg-Marquardt least squares on the pixels, slopes by finite differences and Broyden updates between them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pixward.search.model import EditorModel, propose
from pixward.search.problem import FLOOR, Problem

WEAK = 1.0
"""A step that gains fewer dB than this counts as weak: a fresh Jacobian gains more per render, its cost included."""
STEP = 0.04
"""Finite-difference step in normalised units: wide enough that 8-bit rounding does not drown the difference."""
DONE = 1e-12
"""An error this small is an exact match of the 8-bit images."""

Hint = Callable[[Tensor, Tensor], Tensor]
"""``hint(setting (dim,), its render (1, 3, H, W)) -> setting (dim,)``: somebody else's next guess."""


def least_squares(problem: Problem, seed: int) -> None:
    """From the untouched sliders to the optimum; then from random settings, until one ends at the floor."""
    generator = torch.Generator().manual_seed(seed)
    start = problem.start
    while True:
        model = EditorModel(problem)
        model.learn(start, problem.render(start[None]), move=True)
        refine(problem, model)
        if at_floor(problem):
            return
        start = (torch.rand(problem.dim, generator=generator) * 2 - 1).to(start)


def at_floor(problem: Problem) -> bool:
    """Whether the best render is as near as rounding lets it be: what is left is not the sliders' doing."""
    return problem.best is not None and problem.best.mse <= FLOOR


def refine(problem: Problem, model: EditorModel, rounds: int = 1) -> None:
    """Measure the slopes, walk, and again while that pays."""
    while (before := model.error()) > DONE:
        model.measure(STEP)
        walk(problem, model, rounds=rounds)
        if _decibels(before, model.error()) < WEAK:
            return


def walk(problem: Problem, model: EditorModel, *, rounds: int = 1, patience: int = 2, hint: Hint | None = None) -> None:
    """Move ``model``'s anchor by steps of one render until ``patience`` weak ones in a row, or an exact match.

    Args:
        problem: renders and counts.
        model: has learnt at least one render, and its slopes are worth a try.
        rounds: Gauss-Newton steps on the model per render, more than one only where the model is not linear.
        patience: how many weak steps in a row end the walk.
        hint: makes the last step before the walk would end; the model makes all others.
    """
    damping, weak = 1e-3, 0
    while weak < patience and (error := model.error()) > DONE:
        anchor = model.anchor
        asked = hint is not None and weak == patience - 1
        candidate = hint(anchor, model.image) if hint and asked else propose(model, anchor, damping, rounds)
        if float((candidate - anchor).abs().max()) < 2e-4:
            # Whoever was asked wants to stay: ask the other one, or end.
            weak = patience - 1 if hint and not asked else patience
            continue
        image = problem.render(candidate[None])
        new = model.error(model.read(image))
        model.learn(candidate, image, move=new < error)
        if not asked:
            damping = max(damping / 5, 1e-7) if new < error else min(damping * 6, 1e4)
        weak = 0 if _decibels(error, new) > WEAK else weak + 1


def _decibels(before: float, after: float) -> float:
    return 10 * math.log10(max(before, DONE) / max(after, DONE))
