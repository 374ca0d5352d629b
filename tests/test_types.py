"""The vocabulary: what counts as an editor, and what stays as it is."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pixward.editors.chain import PAPER, PHOTO
from pixward.params import ParamSpace, ParamSpec
from pixward.types import Action, Editor, Env, Policy, Reward, Rollout


def test_the_built_in_chains_are_editors() -> None:
    assert isinstance(PAPER, Editor)
    assert isinstance(PHOTO, Editor)


def test_an_editor_of_ones_own() -> None:
    class Dimmer:
        name = "dimmer"
        space = ParamSpace([ParamSpec("dim", 0, 1, 0, "", "Darker.")])
        differentiable = True

        def __call__(self, images: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
            return images * (1 - params[:, :, None, None])

    assert isinstance(Dimmer(), Editor)
    assert not isinstance(object(), Editor)


def test_any_callable_is_a_reward_and_only_what_steps_is_an_env() -> None:
    assert isinstance(lambda output, target: -(output - target).abs().mean((1, 2, 3)), Reward)
    assert not isinstance(PHOTO, Env)
    assert not isinstance(PHOTO, Policy)


def test_actions_and_rollouts_are_frozen() -> None:
    zero = torch.zeros(2)
    action = Action(torch.zeros(2, 9), zero, zero)
    with pytest.raises(dataclasses.FrozenInstanceError):
        action.value = zero  # type: ignore[misc]
    rollout = Rollout([{}], torch.zeros(1, 2, 9), zero[None], zero[None], zero[None], {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        rollout.rewards = zero  # type: ignore[misc]
