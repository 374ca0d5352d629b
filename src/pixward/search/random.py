"""Uniform random search: the floor under every other strategy."""

from __future__ import annotations

import torch

from pixward.search.problem import Problem

_CHUNK = 16
"""Renders asked for at once: few enough to hold their images in memory."""


def random_search(problem: Problem, seed: int) -> None:
    """Render sliders drawn uniformly from [-1, 1] until the budget is spent.

    Raises:
        BudgetSpent: the budget is spent; :func:`pixward.search.problem.run` catches it.
    """
    generator = torch.Generator().manual_seed(seed)
    while True:
        problem.render(2 * torch.rand(_CHUNK, problem.dim, generator=generator) - 1)
