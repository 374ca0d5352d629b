"""The policy alone: look, set every slider, look again."""

from __future__ import annotations

import torch
from torch import Tensor

from pixward.policies.goal import Deciding
from pixward.search.problem import Problem, Solver
from pixward.types import State


def follow(policy: Deciding) -> Solver:
    """A solver that renders what ``policy`` decides, once per step of its horizon, and stops there.

    It moves ``policy`` to the problem's device.
    """

    def solve(problem: Problem, seed: int) -> None:
        policy.to(problem.source.device)
        state = first_look(problem, policy)
        for _ in range(policy.settings.horizon):
            action = decide(policy, state, problem)
            state = look(state, action, problem.render(action[:, problem.free]))

    return solve


def first_look(problem: Problem, policy: Deciding) -> State:
    """The state before the first render: the photo untouched. The same words as ``EditEnv``'s state."""
    device = problem.source.device
    return {
        "source": problem.source,
        "goal": problem.goal,
        "image": problem.source,
        "params": problem.base[None].clone(),
        "step": torch.zeros(1, device=device),
        "history": torch.zeros(1, policy.settings.horizon, len(problem.space) + 1, device=device),
    }


@torch.no_grad()
def decide(policy: Deciding, state: State, problem: Problem) -> Tensor:
    """The policy's setting ``(1, d)`` with the locked sliders put back."""
    return problem.fill(policy(state)[:, problem.free])


def look(state: State, action: Tensor, image: Tensor) -> State:
    """The state after ``action`` ``(1, d)`` was rendered to ``image`` ``(1, 3, H, W)``."""
    distance = ((image - state["goal"]) ** 2).mean().sqrt().reshape(1, 1)
    history = state["history"].clone()
    step = int(state["step"][0])
    if step < history.shape[1]:
        history[0, step] = torch.cat([action, distance], 1)[0]
    return {**state, "image": image, "params": action, "step": state["step"] + 1, "history": history}
