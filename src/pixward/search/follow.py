"""The policy alone: look, set every slider, look again."""

from __future__ import annotations

import torch
from torch import Tensor

from pixward.policies.goal import Deciding
from pixward.rewards.look import look_gap
from pixward.search.problem import Problem, Solver
from pixward.types import State

STILL = 2e-3
"""A policy that moves no slider by more than this, in normalised units, has nothing more to say."""


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


def settle(policy: Deciding) -> Solver:
    """:func:`follow` for a look, where no render can be held against the truth: the policy's last word is the answer.

    It ends when the policy wants to stay where it is. The history holds look distances in place of pixel distances.
    """

    def solve(problem: Problem, seed: int) -> None:
        policy.to(problem.source.device)
        state = first_look(problem, policy)
        for _ in range(policy.settings.horizon):
            action = decide(policy, state, problem)
            if problem.trials and float((action - state["params"]).abs().max()) < STILL:
                return
            image = problem.render(action[:, problem.free])
            problem.settle()
            state = look(state, action, image, float(look_gap(image, problem.goal)))

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


def look(state: State, action: Tensor, image: Tensor, gap: float | None = None) -> State:
    """The state after ``action`` ``(1, d)`` was rendered to ``image`` ``(1, 3, H, W)``, ``gap`` away from the goal.

    ``gap`` is the root mean square error of the pixels if it is not given.
    """
    distance = (
        image.new_tensor([[gap]]) if gap is not None else (image - state["goal"]).square().mean().sqrt()[None, None]
    )
    history = state["history"].clone()
    step = int(state["step"][0])
    if step < history.shape[1]:
        history[0, step] = torch.cat([action, distance], 1)[0]
    return {**state, "image": image, "params": action, "step": state["step"] + 1, "history": history}
