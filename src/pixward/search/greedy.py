"""Greedy coordinate search: one slider at a time, as a patient person would. RLPixTuner's greedy baseline."""

from __future__ import annotations

import torch

from pixward.search.problem import Problem

_FIRST_STEP = 0.5
_LAST_STEP = 1e-3
"""A step this small no longer changes an 8-bit picture."""


def greedy(problem: Problem, seed: int) -> None:
    """Try each slider a step up and a step down, keep what helps; halve the step of a slider that neither way helps.

    Starts from the untouched photo and uses no chance, so ``seed`` changes nothing. The direction that helped a slider
    last time is tried first, and the other only if that one fails. Ends when every step has become too small.

    Raises:
        BudgetSpent: the budget is spent; :func:`pixward.search.problem.run` catches it.
    """
    del seed
    here = problem.start
    problem.render(here[None])
    best = problem.trials[-1].mse
    steps = [_FIRST_STEP] * problem.dim
    while max(map(abs, steps)) >= _LAST_STEP and best > 0:
        for slider in range(problem.dim):
            if abs(steps[slider]) < _LAST_STEP:
                continue
            for step in (steps[slider], -steps[slider]):
                there = here.clone()
                there[slider] = (there[slider] + step).clamp(-1, 1)
                if torch.equal(there, here):
                    continue
                problem.render(there[None])
                error = problem.trials[-1].mse
                if error < best:
                    here, best, steps[slider] = there, error, step
                    break
            else:
                steps[slider] = steps[slider] / 2
