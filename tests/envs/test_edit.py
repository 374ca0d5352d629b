from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from pixward.checks import check_env
from pixward.editors.chain import PAPER
from pixward.envs.edit import EditEnv
from pixward.image import quantize
from pixward.params import ParamSpace, ParamSpec


class Gain:
    """One slider that multiplies."""

    name, differentiable = "gain", True
    space = ParamSpace([ParamSpec("gain", 0, 2, 1, "x", "Brightness.")])

    def __call__(self, images, params):
        return (images * params[:, :, None, None]).clamp(0, 1)


def tasks(count=2, side=8):
    source, goal = torch.rand(2, count, 3, side, side, generator=torch.Generator().manual_seed(0))
    return {"source": source, "goal": goal}


def test_keeps_the_contract():
    check_env(EditEnv(PAPER, horizon=3), tasks())


def test_reset():
    batch = tasks()
    state = EditEnv(PAPER).reset(batch)
    assert torch.equal(state["image"], quantize(batch["source"]))
    assert torch.equal(PAPER.space.denormalize(state["params"]), PAPER.space.defaults(2))
    assert state["step"].tolist() == [0, 0]
    assert state["history"].shape == (2, 10, 10)
    assert not state["history"].any()


def test_rewards_add_up_to_the_gain_in_psnr():
    env, batch = EditEnv(PAPER), tasks()
    state, total = env.reset(batch), torch.zeros(2)
    actions = 2 * torch.rand(3, 2, 9, generator=torch.Generator().manual_seed(1)) - 1
    for action in actions:
        state, reward = env.step(state, action)
        total += reward
    for i in range(2):
        goal = quantize(batch["goal"])[i].numpy()
        before = peak_signal_noise_ratio(goal, quantize(batch["source"])[i].numpy(), data_range=1)
        after = peak_signal_noise_ratio(goal, state["image"][i].numpy(), data_range=1)
        assert float(total[i]) == pytest.approx(after - before, abs=1e-4)


def test_always_renders_from_the_source():
    env, batch = EditEnv(PAPER), tasks()
    action = torch.full((2, 9), 0.3)
    once, _ = env.step(env.reset(batch), action)
    state = env.reset(batch)
    for other in (-1.0, 0.7):
        state, _ = env.step(state, torch.full((2, 9), other))
    last, _ = env.step(state, action)
    assert torch.equal(once["image"], last["image"])
    assert torch.equal(last["image"], quantize(PAPER(batch["source"], PAPER.space.denormalize(action))))


def test_history_and_distance():
    env = EditEnv(Gain(), horizon=3)
    batch = {"source": torch.full((1, 3, 2, 2), 0.2), "goal": torch.full((1, 3, 2, 2), 0.4)}
    state = env.reset(batch)
    state, reward = env.step(state, torch.tensor([[0.5]]))
    # Gain 1.5: 0.2 becomes 0.3 (76.5 / 255, rounded to 76), 26 / 255 from the goal; before it was 51 / 255.
    assert float(state["history"][0, 0, 1]) == pytest.approx(26 / 255, abs=1e-6)
    assert float(reward) == pytest.approx(20 * math.log10(51 / 26), abs=1e-4)
    state, reward = env.step(state, torch.tensor([[3.0]]))
    # Clamped to gain 2, an exact match: the cap of 60 dB counts, not infinity.
    assert float(state["params"]) == 1
    assert float(reward) == pytest.approx(60 - 20 * math.log10(255 / 26), abs=1e-4)
    assert state["history"][0, :, 0].tolist() == [0.5, 1, 0]
    assert state["step"].tolist() == [2]
    _, reward = env.step(state, torch.tensor([[1.0]]))
    assert float(reward) == 0


def test_no_gradient_is_kept():
    env = EditEnv(PAPER)
    state, reward = env.step(env.reset(tasks()), torch.zeros(2, 9, requires_grad=True))
    assert not reward.requires_grad
    assert not any(value.requires_grad for value in state.values())


def test_errors():
    env = EditEnv(PAPER)
    with pytest.raises(ValueError, match="must both be"):
        env.reset({"source": torch.rand(1, 3, 8, 8), "goal": torch.rand(1, 3, 8, 9)})
    with pytest.raises(ValueError, match=r"must be \(2, 9\)"):
        env.step(env.reset(tasks()), torch.zeros(2, 8))
    with pytest.raises(ValueError, match="horizon"):
        EditEnv(PAPER, horizon=0)
