from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixward.image import quantize
from pixward.rollout import Replay, minibatches, rollout
from pixward.types import Action


class Walk:
    """Adds the action to a number (P = ()) or to every pixel (P = (H, W)); the reward is the new value."""

    horizon = 3

    def reset(self, batch):
        return {"x": batch["x"], "step": torch.zeros(batch["x"].shape[0])}

    def step(self, state, action):
        x = state["x"] + action
        return {"x": x, "step": state["step"] + 1}, x

    def image(self, state):
        return state["x"]


class Count:
    """Acts with 1, 2, 3, ...; its log-probability and baseline tell the step too."""

    def sample(self, state):
        step = state["step"].reshape(-1, *[1] * (state["x"].ndim - 1)).expand_as(state["x"])
        return Action(step + 1, -step, 10 * step)

    def evaluate(self, states, actions):
        return -actions, actions


class Misshapen(Count):
    def sample(self, state):
        action = super().sample(state)
        return Action(action.value, action.log_prob[:, None], action.baseline)


@pytest.mark.parametrize("shape", [(), (4, 5)])
def test_rollout_for_every_P(shape):
    played = rollout(Walk(), Count(), {"x": torch.zeros(2, *shape)})
    assert played.actions.shape == played.log_probs.shape == played.rewards.shape == (3, 2, *shape)
    # 0 + 1, + 2, + 3
    for t, (reward, baseline) in enumerate([(1, 0), (3, 10), (6, 20)]):
        assert (played.rewards[t] == reward).all()
        assert (played.baselines[t] == baseline).all()
        assert (played.log_probs[t] == -t).all()
        assert (played.states[t]["step"] == t).all()
    assert (played.last["x"] == 6).all()
    assert not played.rewards.requires_grad


def test_rollout_refuses_another_P():
    with pytest.raises(ValueError, match="same shape"):
        rollout(Walk(), Misshapen(), {"x": torch.zeros(2)})


@pytest.mark.parametrize("shape", [(), (4, 5)])
def test_minibatches_cover_everything_once_and_stay_aligned(shape):
    played = rollout(Walk(), Count(), {"x": 100 * torch.arange(4.0).reshape(4, *[1] * len(shape)).expand(4, *shape)})
    parts = list(minibatches(played, 5, torch.Generator().manual_seed(0)))
    assert [len(part.index) for part in parts] == [5, 5, 2]
    assert sorted(torch.cat([part.index for part in parts]).tolist()) == list(range(12))
    flat = played.rewards.flatten(0, 1)
    for part in parts:
        assert torch.equal(part.rewards, flat[part.index])
        assert torch.equal(part.states["x"] + part.actions, part.rewards)
        assert torch.equal(part.states["step"], (part.index // 4).float())


def test_minibatches_follow_the_generator():
    played = rollout(Walk(), Count(), {"x": torch.zeros(8)})
    first, again, other = (
        [part.index.tolist() for part in minibatches(played, 6, torch.Generator().manual_seed(seed))]
        for seed in (1, 1, 2)
    )
    assert first == again != other


@given(adds=st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_replay_holds_the_newest(adds):
    replay, added = Replay(5), []
    for count in adds:
        new = torch.arange(len(added), len(added) + count)
        added += new.tolist()
        replay.add({"x": new})
    assert len(replay) == min(5, len(added))
    drawn = replay.sample(200, torch.Generator().manual_seed(0))["x"]
    assert set(drawn.tolist()) <= set(added[-5:])


def test_replay_keeps_rows_together_and_images_as_bytes():
    replay = Replay(4, images=["image"])
    images = quantize(torch.rand(4, 3, 2, 2))
    replay.add({"image": images, "x": torch.arange(4.0)})
    sample = replay.sample(50, torch.Generator().manual_seed(0))
    assert torch.equal(sample["image"], images[sample["x"].long()])
    assert replay.state_dict()["store"]["image"].dtype == torch.uint8


def test_replay_resumes_exactly():
    replay = Replay(4, images=["image"])
    for start in range(3):
        replay.add({"image": torch.rand(2, 3, 2, 2), "x": torch.arange(2.0) + start})
    twin = Replay(4, images=["image"])
    twin.load_state_dict(replay.state_dict())
    for each in (replay, twin):
        each.add({"image": torch.zeros(1, 3, 2, 2), "x": torch.tensor([9.0])})
    one, two = (each.sample(20, torch.Generator().manual_seed(3)) for each in (replay, twin))
    assert all(torch.equal(one[key], two[key]) for key in one)
    with pytest.raises(ValueError, match="holds 4"):
        Replay(5).load_state_dict(replay.state_dict())


def test_replay_errors():
    with pytest.raises(ValueError, match="empty"):
        Replay(3).sample(1, torch.Generator())
    with pytest.raises(ValueError, match="do not fit"):
        Replay(3).add({"x": torch.zeros(4)})
    replay = Replay(3)
    replay.add({"x": torch.zeros(2, 1)})
    with pytest.raises(ValueError, match="'y' comes and goes"):
        replay.add({"x": torch.zeros(2, 1), "y": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"\(2, 1\)"):
        replay.add({"x": torch.zeros(2, 2)})
    assert len(replay) == 2
