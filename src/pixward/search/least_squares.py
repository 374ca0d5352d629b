"""Levenberg-Marquardt least squares on the pixels, slopes by finite differences and Broyden updates between them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pixward.search.model import EditorModel, propose
from pixward.search.problem import Problem

WEAK = 1.0
"""A step that gains fewer dB than this counts as weak: a fresh Jacobian gains more per render, its cost included."""
STEP = 0.04
"""Finite-difference step in normalised units: wide enough that 8-bit rounding does not drown the difference."""
DONE = 1e-12
"""An error this small is an exact match of the 8-bit images."""


def least_squares(problem: Problem, seed: int) -> None:
    """From the untouched sliders to the optimum; then from random settings until the budget is spent."""
    generator = torch.Generator().manual_seed(seed)
    start = problem.start
    while True:
        model = EditorModel(problem)
        model.learn(start, problem.render(start[None]), move=True)
        if refine(problem, model, measured=False):
            return
        start = (torch.rand(problem.dim, generator=generator) * 2 - 1).to(start)


def refine(problem: Problem, model: EditorModel, *, measured: bool, rounds: int = 1) -> bool:
    """Walk ``model``'s anchor to the optimum; True if the match is exact, False if no step helps any more.

    ``measured``: the model's slopes are worth a try; otherwise the first thing done is to measure them.
    ``rounds``: Gauss-Newton steps on the model per render, more than one only where the model is not linear.

    Two weak steps in a row ask for a fresh Jacobian; weak steps on a fresh Jacobian end the walk.
    """
    damping, weak, fresh, error = 1e-3, 0, False, model.error()
    if not measured:
        model.measure(STEP)
        fresh, error = True, model.error()
    while error > DONE:
        candidate = propose(model, _anchor(model), damping, rounds)
        still = float((candidate - _anchor(model)).abs().max()) < 2e-4
        if still:
            weak = 2
        else:
            image = problem.render(candidate[None])
            new = model.error(model.read(image))
            gain = 10 * math.log10(error / max(new, DONE)) if error > 0 else 0.0
            model.learn(candidate, image, move=new < error)
            damping = max(damping / 5, 1e-7) if new < error else min(damping * 6, 1e4)
            error = min(error, new)
            weak = 0 if gain > WEAK else weak + 1
        if weak >= 2:
            if fresh and (still or weak >= 4):
                return False
            if not fresh:
                model.measure(STEP / 2)
                fresh, weak, damping, error = True, 0, min(damping, 1e-2), model.error()
        elif weak == 0:
            fresh = False
    return (problem.best is not None) and problem.best.mse <= DONE


def _anchor(model: EditorModel) -> Tensor:
    if model.anchor is None:
        raise ValueError("refine() needs a model that has learnt a render")
    return model.anchor
