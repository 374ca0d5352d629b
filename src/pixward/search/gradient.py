"""The ceiling: what can be reached by one who may look inside the editor."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pixward.search.problem import FLOOR, Problem, Trial

_RADIUS = 0.5
"""Half the side of the first trust region, in normalised slider units; the range is 2 wide."""
_SMALLEST_STEP = 2e-5
"""A step this small no longer changes an 8-bit picture."""
_PATIENCE = 4


def gradient(problem: Problem, seed: int) -> None:
    """Gauss-Newton with exact derivatives in a box-shaped trust region, restarted until the goal is found.

    Starts from the untouched photo; restarts take turns between anywhere and near the best so far, as ``seed`` draws
    them, and end after four in a row that gain less than 1 %: then no sliders reach the goal.

    Every picture tried is one counted render. Its derivative costs no further render, as white-box solvers are counted,
    but the time of some twenty: compare seconds too. Steps minimise the error of the exact render; the choice between
    trials is by the 8-bit one, as in every strategy.

    Raises:
        ValueError: the editor is not differentiable.
        BudgetSpent: the budget is spent; :func:`pixward.search.problem.run` catches it.
    """
    if not problem.editor.differentiable:
        raise ValueError(f"the gradient strategy needs a differentiable editor, and {problem.editor.name} is none")
    generator = torch.Generator().manual_seed(seed)
    best = _descend(problem, problem.start)
    rounds = fruitless = 0
    while best.mse > FLOOR and fruitless < _PATIENCE:
        rounds += 1
        if rounds % 2:
            start = 2 * torch.rand(problem.dim, generator=generator) - 1
        else:
            start = best.action[problem.free].cpu() + 0.3 * torch.randn(problem.dim, generator=generator)
        found = _descend(problem, start)
        fruitless = 0 if found.mse < 0.99 * best.mse else fruitless + 1
        best = min(best, found, key=lambda trial: trial.mse)


def _descend(problem: Problem, start: Tensor) -> Trial:
    """Trust-region Gauss-Newton (Nocedal and Wright, algorithm 4.1) from one start to the nearest minimum."""
    here = _try(problem, start)
    radius = _RADIUS
    while here.mse > 0:
        image, slopes = problem.derivative(here)
        residual, jacobian = (image - problem.goal[0]).flatten().double(), slopes.flatten(1).double()
        # Means over pixels, so that the model and Trial.mse have one unit.
        normal = (jacobian @ jacobian.T).cpu().numpy() / residual.numel()
        slope = (jacobian @ residual).cpu().numpy() / residual.numel()
        point = here.action[problem.free]
        while True:
            step = _box_step(normal, slope, point.double().cpu().numpy(), radius)
            length = float(np.abs(step).max())
            if length < _SMALLEST_STEP:
                return here
            there = _try(problem, point + torch.from_numpy(step).to(point))
            promised = -float(2 * slope @ step + step @ normal @ step)
            kept = (here.mse - there.mse) / max(promised, 1e-30)
            if kept < 0.25:
                radius = length / 4
            elif kept > 0.75:
                radius = max(radius, 2 * length)
            if there.mse < here.mse:
                here = there
                break
    return here


def _try(problem: Problem, free: Tensor) -> Trial:
    problem.render(free[None])
    return problem.trials[-1]


def _box_step(normal: np.ndarray, slope: np.ndarray, point: np.ndarray, radius: float) -> np.ndarray:
    """The ``d`` that minimises ``d'Nd + 2 s'd`` within ``radius`` of ``point`` and within [-1, 1]."""
    from scipy.optimize import lsq_linear

    low, high = np.maximum(-1 - point, -radius), np.minimum(1 - point, radius)
    # The ridge holds sliders still that change nothing here, such as a clipped picture's.
    ridge = 1e-9 * np.trace(normal) / len(point) + 1e-14
    factor = np.linalg.cholesky(normal + ridge * np.eye(len(point))).T
    # lsq_linear wants low < high, and a slider on the rim has room on one side only.
    low, high = np.minimum(low, -1e-12), np.maximum(high, 1e-12)
    return lsq_linear(factor, -np.linalg.solve(factor.T, slope), (low, high), method="bvls").x
