from __future__ import annotations

import pytest
import torch

from pixward.envs.pixel import PixelEnv, saliency
from pixward.envs.pixel_blocks import SIDES, TONES, BlockEnv, BlockPolicy, Blocks
from pixward.ops.pixel import SALIENCY
from pixward.policies.pixel import PixelPolicy, PixelSettings
from pixward.rewards.saliency import SaliencyReward, saliency_condition, saliency_target
from pixward.run import Run
from pixward.train.a2c import A2CSettings, a2c


def brightness(images):
    return images.mean(1)


def batch(count=2, height=16, width=24):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(count, 3, height, width, generator=generator)
    mask = torch.zeros(count, height, width)
    mask[:, 4:12, 8:16] = 1
    condition = saliency_condition(image, mask, brightness)
    return {"image": image, "clean": saliency_target(image, mask), "condition": condition}


def policy(width=8):
    return PixelPolicy(PixelSettings(actions="saliency", horizon=2, width=width, design="context", condition=2))


def test_pixels_of_a_group_do_the_same():
    env = BlockEnv(saliency(SaliencyReward(brightness)), Blocks(8))
    state = env.reset(batch())
    rows, columns = env.blocks.grid((16, 24))
    assert (rows, columns) == (2, 3)
    index = env.blocks.index(state).view(2, 16, 24)
    light = (state["image"] * torch.tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)).sum(1)
    tone, side = (light * TONES).long().clamp_max(TONES - 1), state["condition"][:, 0].long()
    for y, x in ((0, 0), (5, 9), (15, 23), (11, 15)):
        expected = ((side[:, y, x] * TONES + tone[:, y, x]) * rows + y // 8) * columns + x // 8
        assert torch.equal(index[:, y, x], expected)
    action = torch.randint(len(SALIENCY), (2, SIDES * TONES * rows, columns))
    chosen = action.flatten(1).gather(1, index.flatten(1)).view(2, 16, 24)
    following, reward = env.step(state, action)
    assert torch.equal(following["image"], SALIENCY.apply(state["image"], chosen))
    assert reward.shape == action.shape


def test_a_group_answers_for_the_blocks_about_it():
    """The reward is 1 in one block: groups within two blocks of it share it, and empty groups get nothing."""

    class Fixed(PixelEnv):
        def step(self, state, action):
            gain = torch.zeros_like(state["image"][:, 0])
            gain[:, :8, :8] = 1
            return state, gain

    env = BlockEnv(Fixed(SALIENCY, 1), Blocks(8), about=3)
    image = torch.full((1, 3, 32, 32), 0.1)
    state = env.reset({"image": image, "clean": image, "condition": torch.zeros(1, 2, 32, 32)})
    _, reward = env.step(state, torch.zeros(1, 24, 4, dtype=torch.long))
    expected = torch.zeros(24, 4)
    expected[:2, :2] = 2.0  # 4 of 16 groups with pixels have 1: the root mean square is 1/2
    assert torch.allclose(reward[0], expected)


def test_a_group_decides_as_its_pixels_do_on_average():
    torch.manual_seed(0)
    blocks, net = Blocks(8), policy()
    env = BlockEnv(saliency(SaliencyReward(brightness)), blocks)
    state = env.reset(batch(1))
    log_probs, _, _ = net.distribution(state)
    agents = BlockPolicy(net, blocks, rate=2.0)
    agents.worth.data[:] = torch.arange(12.0).view(2, 6)
    pooled, worth, memory = agents.distribution({**state, "step": torch.ones(1)})
    assert memory is not None and pooled.shape == (1, len(SALIENCY), 12, 3) and worth.shape == (1, 12, 3)
    assert torch.allclose(pooled.exp().sum(1), torch.ones(1, 12, 3), atol=1e-5)
    index = blocks.index(state)[0]
    group = int(index[0])
    mean = log_probs[0].flatten(1)[:, index == group].mean(1)
    assert torch.allclose(pooled[0].flatten(1)[:, group], torch.log_softmax(mean, 0), atol=1e-5)
    kind = 6 + group // 6  # the second row of the table; groups come in maps of 2 x 3 blocks
    share = float((index == group).sum()) / 64
    assert float(worth.detach().flatten()[group]) == pytest.approx(2.0 * kind * share**0.5, rel=1e-4)


def test_learning_brightens_what_is_marked(tmp_path):
    """With brightness as the model of saliency there is one right answer: brighter inside, darker outside."""
    torch.manual_seed(0)
    net, blocks = policy(width=16), Blocks(4)
    torch.nn.init.zeros_(net.net.head.weight)
    env = BlockEnv(PixelEnv(SALIENCY, 2, SaliencyReward(brightness, stay=0.0)), blocks, about=1)
    task = batch(4)
    settings = A2CSettings(
        updates=100, batch=4, learning_rate=1e-3, gamma=0.0, entropy=0.0, gradient="sampled", checkpoint_every=50
    )
    with Run(tmp_path / "run", tensorboard=False) as run:
        lines = list(a2c(env, BlockPolicy(net, blocks), lambda count: task, run, settings))
    assert lines[-1]["return"] > lines[0]["return"]
    chosen = net(task["image"], None, task["condition"])[0].argmax(1)
    inside = task["condition"][:, 0] > 0.5
    assert float((chosen[inside] == SALIENCY.index("brighter")).float().mean()) > 0.7
    assert float((chosen[~inside] == SALIENCY.index("darker")).float().mean()) > 0.7


def test_what_cannot_be_had():
    env = BlockEnv(saliency(SaliencyReward(brightness)), Blocks())
    with pytest.raises(NotImplementedError, match="sampled"):
        env.counterfactual(env.reset(batch()))
    with pytest.raises(ValueError, match="odd"):
        BlockEnv(env.env, Blocks(), about=4)
