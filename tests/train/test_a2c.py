from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from pixward.envs.pixel import denoising
from pixward.errors import PixwardError
from pixward.policies.pixel import PixelPolicy, PixelSettings
from pixward.run import Run, seed_everything
from pixward.train.a2c import KERNEL, A2CSettings, RewardKernel, a2c, episode_loss

SHORT = A2CSettings(updates=20, batch=2, checkpoint_every=5, learning_rate=1e-2)


class Table(nn.Module):
    """The same logits and value everywhere; remembers nothing."""

    def __init__(self, logits, value):
        super().__init__()
        self.logits, self.value = nn.Parameter(torch.tensor(logits)), nn.Parameter(torch.tensor(value))

    def distribution(self, state, memory=None):
        image = state["image"]
        shape = (image.shape[0], len(self.logits), *image.shape[2:])
        return self.logits.log_softmax(0).view(1, -1, 1, 1).expand(shape), self.value.expand_as(image[:, 0]), None


class Game:
    """Action ``a`` earns ``prizes[step][a]``, whatever the pixel."""

    def __init__(self, prizes):
        self.prizes, self.horizon = torch.tensor(prizes), len(prizes)

    def reset(self, batch):
        return {**batch, "step": torch.zeros(len(batch["image"]))}

    def counterfactual(self, state):
        prize = self.prizes[int(state["step"][0])]
        return prize.view(1, -1, 1, 1).expand(len(state["image"]), -1, *state["image"].shape[2:])

    def step(self, state, action):
        return {**state, "step": state["step"] + 1}, self.prizes[int(state["step"][0])][action]


def batch(count=2, side=3):
    image = torch.rand(count, 1, side, side)
    return {"image": image, "clean": image * 0.5}


def crops(count):
    clean = torch.rand(count, 1, 1, 1).expand(count, 1, 12, 12).contiguous()
    return {"image": clean + 0.1 * torch.randn(count, 1, 12, 12), "clean": clean}


def policy(**settings):
    return PixelPolicy(PixelSettings(width=8, depth=2, **settings))


def test_the_last_step_of_the_all_action_loss_by_hand():
    table, game = Table([0.2, -0.3, 0.5], 0.7), Game([[1.0, 2.0, -1.0]])
    settings = A2CSettings(entropy=0.1)
    loss, parts = episode_loss(game, table, RewardKernel("identity"), batch(), settings)
    pi = torch.tensor([0.2, -0.3, 0.5]).softmax(0)
    expected = float((pi * torch.tensor([1.0, 2.0, -1.0])).sum())
    entropy = float(-(pi * pi.log()).sum())
    # Nothing follows, so the baseline's target is 0 and its advantage 0 - 0.7 for every pixel's own draw.
    assert float(parts["value_loss"]) == pytest.approx(0.5 * 0.49, abs=1e-6)
    loss.backward()
    gradient = -pi * (torch.tensor([1.0, 2.0, -1.0]) - expected)  # of -sum pi r
    gradient -= 0.1 * -pi * (pi.log() + entropy)
    sampled = table.logits.grad - gradient
    assert torch.allclose(sampled.sum(), torch.zeros(()), atol=1e-5)  # a score function's gradient adds up to 0
    assert table.value.grad == pytest.approx(0.5 * 0.7, abs=1e-6)


@pytest.mark.parametrize("kernel", ["identity", "zero"])
def test_both_gradients_have_the_same_mean(kernel):
    game, settings = Game([[1.0, 0.0, -1.0], [0.3, 2.0, 0.1]]), A2CSettings(entropy=0.0)
    means = {}
    torch.manual_seed(0)
    for gradient in ("all", "sampled"):
        table = Table([0.1, 0.4, -0.2], 0.5)
        many = {"image": torch.zeros(1, 1, 200, 200)}
        loss, _ = episode_loss(game, table, RewardKernel(kernel), many, replace(settings, gradient=gradient))
        loss.backward()
        means[gradient] = table.logits.grad
    pi = torch.tensor([0.1, 0.4, -0.2]).softmax(0)
    exact = torch.zeros(3)
    for prize in game.prizes:  # actions do not change what comes later, so only the immediate reward counts
        exact -= pi * (prize - (pi * prize).sum())
    assert torch.allclose(means["all"], exact, atol=0.01)
    assert torch.allclose(means["sampled"], exact, atol=0.02)


def test_the_all_action_gradient_has_less_spread():
    game = Game([[1.0, 0.0, -1.0]])
    spread = {}
    for gradient in ("all", "sampled"):
        torch.manual_seed(0)
        found = []
        for _ in range(200):
            table = Table([0.1, 0.4, -0.2], 0.0)
            loss, _ = episode_loss(game, table, RewardKernel("zero"), batch(), A2CSettings(gradient=gradient))
            loss.backward()
            found.append(table.logits.grad)
        spread[gradient] = torch.stack(found).var(0).sum()
    assert spread["all"] < 1e-9 < spread["sampled"]


def test_returns_are_discounted_and_convolved():
    table, game = Table([0.0], 0.0), Game([[1.0], [2.0]])
    settings = A2CSettings(gradient="sampled", gamma=0.5, entropy=0.0)
    _, parts = episode_loss(game, table, RewardKernel("identity"), batch(), settings)
    assert float(parts["return"]) == pytest.approx(3.0)
    assert float(parts["value_loss"]) == pytest.approx(0.5 * (2.0**2 + 2.0**2))  # R_1 = 2, R_0 = 1 + 0.5 * 2
    blurred = RewardKernel("gaussian")
    wide = {"image": torch.zeros(1, 1, 64, 64)}
    _, parts = episode_loss(game, table, blurred, wide, settings)
    inner = blurred(torch.ones(1, 64, 64))[0, 32, 32]
    assert float(inner) == pytest.approx(1.0, abs=1e-6)


def test_kernels():
    assert torch.equal(RewardKernel("identity")(torch.ones(1, 4, 4)), torch.ones(1, 4, 4))
    assert not RewardKernel("zero")(torch.ones(1, 4, 4)).any()
    learned = RewardKernel("learned")
    values = torch.rand(2, 40, 40)
    assert torch.allclose(learned(values), values)  # starts as identity
    learned(values).square().sum().backward()
    assert bool(learned.weight.grad.any()) and learned.weight.shape == (1, 1, KERNEL, KERNEL)
    with pytest.raises(ValueError, match="no reward kernel 'x'"):
        RewardKernel("x")


def test_a_learned_kernel_learns_from_the_value_loss_only():
    net, kernel = policy(), RewardKernel("learned")
    seed_everything(0)
    loss, _ = episode_loss(denoising(), net, kernel, crops(2), A2CSettings(kernel="learned", gradient="sampled"))
    loss.backward()
    assert bool(kernel.weight.grad.any())


@pytest.mark.parametrize("gradient", ["all", "sampled"])
@pytest.mark.parametrize("design", [{}, {"recurrent": True}, {"design": "half"}, {"design": "half", "foresight": True}])
def test_twenty_updates_help(tmp_path, gradient, design):
    seed_everything(0)
    net, fixed = policy(**design), crops(8)

    def earned():
        torch.manual_seed(1)
        with torch.no_grad():
            return episode_loss(denoising(), net, RewardKernel("identity"), fixed, SHORT)[1]["return"]

    before = earned()
    with Run(tmp_path / "run", tensorboard=False) as run:
        lines = list(a2c(denoising(), net, crops, run, replace(SHORT, gradient=gradient)))
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert earned() > before
    assert all(line["cpu_seconds"] > 0 for line in lines)


def test_golden_trace(tmp_path):
    """What training did when this was written; a change here changes every figure, so it must be meant."""
    seed_everything(0)
    net = policy(design="half", foresight=True)
    with Run(tmp_path / "run", tensorboard=False) as run:
        lines = list(a2c(denoising(), net, crops, run, SHORT))
    assert [round(line["return"], 3) for line in lines] == pytest.approx(GOLDEN, abs=5e-3)


GOLDEN = [0.409, 0.35, 0.715, 0.88]


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path):
    def train(folder, updates, resume=False):
        seed_everything(0)
        net = policy(design="half")
        with Run(folder, resume=resume, tensorboard=False) as run:
            kept = {"learning_rate": 1e-2, "batch": 2, "checkpoint_every": 5}
            for line in a2c(denoising(), net, crops, run, A2CSettings(updates=10, **kept)):
                if line["step"] == updates:
                    break
        return net

    whole = train(tmp_path / "whole", 10)
    train(tmp_path / "parts", 5)
    parts = train(tmp_path / "parts", 10, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_weights_of_items_count():
    table, game = Table([0.2, -0.1], 0.0), Game([[1.0, 0.0]])
    heavy = batch() | {"weight": torch.tensor([2.0, 2.0])}
    light = A2CSettings(entropy=0.0)
    one, _ = episode_loss(game, table, RewardKernel("zero"), batch(), light)
    two, _ = episode_loss(game, table, RewardKernel("zero"), heavy, light)
    assert two.item() == pytest.approx(2 * one.item())


def test_what_evaluate_says_is_logged(tmp_path):
    with Run(tmp_path / "run", tensorboard=False) as run:
        lines = list(a2c(denoising(), policy(), crops, run, replace(SHORT, updates=5), lambda: {"psnr": 1.5}))
    assert lines[0]["psnr"] == 1.5


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    def broken(count):
        drawn = crops(count)
        return drawn | {"clean": drawn["clean"] * float("nan")}

    with Run(tmp_path / "run", tensorboard=False) as run, pytest.raises(FloatingPointError, match="update 0"):
        list(a2c(denoising(), policy(), broken, run, SHORT))


def test_another_trainers_checkpoint_is_refused(tmp_path):
    with Run(tmp_path / "run", tensorboard=False) as run:
        run.save({"step": 1})
    with Run(tmp_path / "run", resume=True, tensorboard=False) as run, pytest.raises(PixwardError, match="another"):
        list(a2c(denoising(), policy(), crops, run, SHORT))
