"""Editing towards a look: what the state holds, and what is rewarded."""

import pytest
import torch

from pixward.checks import check_env
from pixward.editors.chain import PHOTO
from pixward.envs.look import LookEnv, neg_colour_distance
from pixward.image import quantize
from pixward.ops.color import linear_to_oklab
from pixward.rewards.look import look, look_gap


def batch(count: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    source = torch.rand(count, 3, 24, 32, generator=generator)
    return {"source": source, "goal": torch.rand(count, 3, 20, 20, generator=generator), "truth": source.flip(3)}


def test_keeps_the_contract():
    source = batch()["source"]
    check_env(LookEnv(PHOTO, 3), {"source": source, "goal": source.flip(2)}, torch.zeros(2, len(PHOTO.space)))


def test_reward_is_the_gain_in_look():
    env, tasks = LookEnv(PHOTO, 3), batch()
    state = env.reset(tasks)
    action = torch.full((2, len(PHOTO.space)), 0.4)
    following, reward = env.step(state, action)
    goal = quantize(tasks["goal"])
    render = quantize(PHOTO(tasks["source"], PHOTO.space.denormalize(action)))
    assert torch.equal(env.image(following), render)
    assert torch.allclose(reward, look(render, goal) - look(quantize(tasks["source"]), goal))
    assert torch.equal(following["history"][:, 0, :-1], action)
    assert torch.allclose(following["history"][:, 0, -1], look_gap(render, goal))
    assert int(following["history"][:, 1:].count_nonzero()) == 0
    assert int(state["step"][0]) == 0 and int(following["step"][0]) == 1


def test_reward_of_the_hidden_truth():
    env, tasks = LookEnv(PHOTO, 3, neg_colour_distance, "truth"), batch()
    state = env.reset(tasks)
    _, reward = env.step(state, torch.full((2, len(PHOTO.space)), 0.4))
    truth = quantize(tasks["truth"])
    render = quantize(PHOTO(tasks["source"], PHOTO.space.denormalize(torch.full((2, len(PHOTO.space)), 0.4))))
    expected = neg_colour_distance(render, truth) - neg_colour_distance(quantize(tasks["source"]), truth)
    assert torch.allclose(reward, expected)


def test_oklab_of_known_colours():
    """White is (1, 0, 0); sRGB's red is (0.628, 0.225, 0.126), as CSS Color 4 has it."""
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])[:, :, None, None]
    lab = linear_to_oklab(colours)[:, :, 0, 0]
    assert torch.allclose(lab[0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-3)
    assert torch.allclose(lab[1], torch.tensor([0.62796, 0.22486, 0.12585]), atol=1e-3)


def test_colour_distance_by_hand():
    """White against black is one unit of lightness everywhere, less the floor that black is raised to."""
    white, black = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    assert float(neg_colour_distance(white, black)) == pytest.approx(-100 * (1 - 1e-2), rel=2e-3)
    assert float(neg_colour_distance(white, white)) == pytest.approx(-0.1, rel=1e-3)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"goal": torch.rand(3, 3, 20, 20)}, "must both be"),
        ({"truth": torch.rand(2, 3, 20, 20)}, "the truth must be"),
        ({"source": torch.rand(2, 1, 24, 32)}, "must both be"),
    ],
)
def test_bad_batches(change, words):
    with pytest.raises(ValueError, match=words):
        LookEnv(PHOTO).reset({**batch(), **change})


def test_bad_settings():
    with pytest.raises(ValueError, match="at least 1"):
        LookEnv(PHOTO, 0)
    with pytest.raises(ValueError, match="goal or truth"):
        LookEnv(PHOTO, target="source")
    env = LookEnv(PHOTO)
    with pytest.raises(ValueError, match="action must be"):
        env.step(env.reset(batch()), torch.zeros(2, 3))
