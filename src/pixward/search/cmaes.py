"""CMA-ES (Hansen, arXiv 1604.00772) through the ``cma`` library: the strategy that RLPixTuner compares with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pixward.search.problem import Problem

SIGMA = 0.3
"""The first step size. 0.3 beat 0.5 by some 3 dB after 200 renders of ``chain:paper``."""


def cmaes(problem: Problem, seed: int) -> None:
    """Start from the untouched photo; whenever it stalls, restart at random with twice the population (IPOP).

    Raises:
        BudgetSpent: the budget is spent; :func:`pixward.search.problem.run` catches it.
        ImportError: ``cma`` is not installed.
    """
    rng = np.random.default_rng(seed)
    # cma refuses one dimension: a second that changes nothing is added, and dropped before rendering.
    dim = max(problem.dim, 2)
    centre = np.zeros(dim)
    centre[: problem.dim] = problem.start.cpu().numpy()
    population = 0
    while True:
        population = _descend(problem, centre, population, rng) * 2
        centre = rng.uniform(-1, 1, dim)


def _descend(problem: Problem, centre: np.ndarray, population: int, rng: np.random.Generator) -> int:
    """One run of CMA-ES until it stops by itself; returns its population. ``population`` 0 lets ``cma`` choose."""
    try:
        import cma
    except ImportError as error:
        raise ImportError("the cmaes strategy needs the cma package: pip install cma") from error
    options: dict[str, Any] = {
        "bounds": [-1, 1],
        "verbose": -9,
        # Its own generator: cma would seed numpy's global one, and reads seed 0 as "none".
        "seed": float("nan"),
        "randn": lambda *shape: rng.standard_normal(shape),
    }
    if population:
        options["popsize"] = population
    strategy = cma.CMAEvolutionStrategy(centre, SIGMA, options)
    while not strategy.stop():
        points = strategy.ask()
        free = torch.tensor(np.stack(points)[:, : problem.dim], dtype=torch.float32)
        problem.render(free)
        strategy.tell(points, [trial.mse for trial in problem.trials[-len(points) :]])
    return int(strategy.popsize)
