"""The default strategy: the policy guesses, a learnt response polishes the guess, least squares finishes.

1. The policy looks at photo and goal and sets every slider.
2. With a response of the editor at hand that guess is walked to where the response comes nearest the goal, which costs
   no render, and the result is the first render. Without one the policy's own setting is.
3. Every render corrects the model; the next is where the corrected model comes nearest the goal. While that gains, no
   render is spent on anything else.
4. When two steps in a row are weak, the slopes are measured by finite differences, on top of all that is known.
5. An optimum that is no exact match may be a local one: with renders left the walk starts anew from a setting nearby.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pixward.policies.goal import GoalPolicy
from pixward.policies.response import Response
from pixward.search.follow import decide, first_look, look
from pixward.search.least_squares import refine
from pixward.search.model import EditorModel, propose
from pixward.search.problem import Problem, Solver

ROUNDS = 3
"""Gauss-Newton steps on the response per render."""
TIRED = 0.5
"""The policy has said what it knows when its next render gains less than this, in dB."""


def hybrid(policy: GoalPolicy | None, response: Response | None) -> Solver:
    """The solver for an editor with these networks; either may be missing."""

    def solve(problem: Problem, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        start = _guess(problem, policy, response)
        while True:
            model = EditorModel(problem, response)
            first = _polish(problem, response, start)
            model.learn(first, problem.render(first[None]), move=True)
            if refine(problem, model, measured=response is not None, rounds=ROUNDS if response else 1):
                return
            nudge = 0.3 * torch.randn(problem.dim, generator=generator).to(start)
            best = problem.best
            start = ((best.action[problem.free] if best else start) + nudge).clamp(-1, 1)

    return solve


def _guess(problem: Problem, policy: GoalPolicy | None, response: Response | None) -> Tensor:
    """The policy's setting ``(dim,)``; with no response its own renders improve it until they gain too little."""
    if policy is None:
        return problem.start
    state = first_look(problem, policy)
    if response is not None:
        return decide(policy, state, problem)[0, problem.free]
    error = problem.source_mse
    for _ in range(policy.settings.horizon - 1):
        action = decide(policy, state, problem)
        state = look(state, action, problem.render(action[:, problem.free]))
        new = problem.trials[-1].mse
        if new > error * 10 ** (-TIRED / 10):
            break
        error = new
    return decide(policy, state, problem)[0, problem.free]


def _polish(problem: Problem, response: Response | None, start: Tensor) -> Tensor:
    """Walk ``start`` to where the response alone comes nearest the goal; no render."""
    if response is None:
        return start
    return propose(EditorModel(problem, response), start, damping=1e-4, rounds=3 * ROUNDS)
