"""Small networks and the states that they look at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pixward.policies.goal import GoalPolicy, GoalSettings
from pixward.types import State

SMALL = GoalSettings(sliders=4, horizon=5, width=24, points=6)


@pytest.fixture
def make_state() -> Callable[..., State]:
    """``make_state(batch=3)``: a state in the middle of an episode, random but seeded."""

    def make(batch: int = 3, seed: int = 0) -> State:
        generator = torch.Generator().manual_seed(seed)

        def rand(*shape: int) -> Tensor:
            return torch.rand(batch, *shape, generator=generator)

        return {
            "source": rand(3, 10, 12),
            "goal": rand(3, 10, 12),
            "image": rand(3, 10, 12),
            "params": 2 * rand(4) - 1,
            "step": torch.full((batch,), 2.0),
            "history": rand(5, 5),
        }

    return make


@pytest.fixture
def make_policy() -> Callable[..., GoalPolicy]:
    """``make_policy(settings=SMALL)``: random weights, the last layer large enough to make real decisions."""

    def make(settings: GoalSettings = SMALL) -> GoalPolicy:
        torch.manual_seed(0)
        policy = GoalPolicy(settings)
        last = list(policy.head.parameters())[-2:]
        torch.nn.init.normal_(last[0], std=0.3)
        torch.nn.init.normal_(last[1], std=0.3)
        return policy

    return make
