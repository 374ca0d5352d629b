from __future__ import annotations

import pytest
import torch

from pixward.checks import check_env
from pixward.envs.pixel import PixelEnv, colour_enhancement, denoising, restoration
from pixward.ops.pixel import RESTORE, RESTORE_STOP
from pixward.rewards.pixel import squared_error


def tasks(channels=1, count=2, side=8):
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(count, channels, side, side, generator=generator)
    return {"image": clean + 0.2 * torch.randn(clean.shape, generator=generator), "clean": clean}


def actions(env, count=2, side=8):
    return torch.randint(len(env.actions), (count, side, side), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("make, horizon", [(denoising, 5), (restoration, 15), (colour_enhancement, 10)])
def test_keeps_the_contract(make, horizon):
    env = make()
    assert env.horizon == horizon
    check_env(env, tasks(env.actions.channels), actions(env))


def test_reward_map_is_the_gain_of_each_pixel():
    env, batch = denoising(), tasks()
    state = env.reset(batch)
    following, reward = env.step(state, actions(env))
    clean, before, after = batch["clean"][:, 0], batch["image"][:, 0], following["image"][:, 0]
    assert torch.equal(following["image"], RESTORE.apply(batch["image"], actions(env)))
    assert torch.allclose(reward, 255 * ((clean - before) ** 2 - (clean - after) ** 2), atol=1e-5)
    assert following["step"].tolist() == [1, 1]


def test_rewards_telescope():
    env, batch = denoising(), tasks()
    state, total = env.reset(batch), 0.0
    for _ in range(env.horizon):
        state, reward = env.step(state, actions(env))
        total = total + reward
    gained = squared_error(state["image"], batch["clean"]) - squared_error(batch["image"], batch["clean"])
    assert torch.allclose(total, gained, atol=1e-4)


def test_the_image_is_never_clipped_but_shown_so():
    env = denoising()
    dark = {"image": torch.zeros(1, 1, 2, 2), "clean": torch.zeros(1, 1, 2, 2)}
    state, _ = env.step(env.reset(dark), torch.zeros(1, 2, 2, dtype=torch.long))
    assert float(state["image"].max()) < 0
    assert env.image(state).shape == (1, 3, 2, 2) and float(env.image(state).max()) == 0


def test_what_it_does_not_know_is_handed_on():
    batch = {**tasks(), "memory": torch.ones(2, 4, 8, 8)}
    env = denoising()
    state, _ = env.step(env.reset(batch), actions(env))
    assert state["memory"] is batch["memory"]


def test_bad_batches():
    env = denoising()
    with pytest.raises(ValueError, match=r"must both be \(B, 1, H, W\)"):
        env.reset(tasks(channels=3))
    with pytest.raises(ValueError, match="must both be"):
        env.reset({"image": torch.zeros(1, 1, 2, 2), "clean": torch.zeros(1, 1, 2, 3)})
    with pytest.raises(ValueError, match="unknown action 9"):
        env.step(env.reset(tasks()), torch.full((2, 8, 8), 9))
    with pytest.raises(ValueError, match="horizon"):
        PixelEnv(horizon=0)


def test_who_stops_does_nothing_more():
    env = PixelEnv(RESTORE_STOP, 3, price=0.01)
    image = torch.rand(1, 1, 4, 4)
    state = env.reset({"image": image, "clean": image.clone()})
    stop, brighter = RESTORE_STOP.index("stop"), RESTORE_STOP.index("brighter")
    action = torch.full((1, 4, 4), brighter)
    action[0, 0, 0] = stop
    state, reward = env.step(state, action)
    assert float(reward[0, 0, 0]) == 0 and float(reward[0, 1, 1]) == pytest.approx(-1 / 255 - 0.01, rel=1e-3)
    every = env.counterfactual(state)
    assert not every[0, :, 0, 0].any() and float(every[0, stop, 1, 1]) == 0
    state, reward = env.step(state, torch.full((1, 4, 4), brighter))
    assert state["image"][0, 0, 0, 0] == image[0, 0, 0, 0] and float(reward[0, 0, 0]) == 0
    assert int(state["stopped"].sum()) == 1


def test_counterfactual_rewards_are_those_of_steps():
    env, noisy = denoising(), torch.rand(2, 1, 6, 7)
    state = env.reset({"image": noisy, "clean": torch.rand(2, 1, 6, 7)})
    every = env.counterfactual(state)
    assert every.shape == (2, 9, 6, 7)
    for action in range(9):
        _, reward = env.step(state, torch.full((2, 6, 7), action))
        assert torch.allclose(every[:, action], reward, atol=1e-6)
