from __future__ import annotations

from functools import partial

import pytest
import torch

from pixward.errors import PixwardError
from pixward.judging import ask, name_of

IMAGES = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
PROMPTS = ["a cat", "a dog"]


def brightness(images, prompts, metadata, scale=1.0):
    return images.mean((1, 2, 3)) * scale


def test_scores_keep_their_gradient():
    leaf = IMAGES.clone().requires_grad_(True)
    scores, info = ask(brightness, leaf, PROMPTS, [{}] * 2)
    scores.sum().backward()
    torch.testing.assert_close(leaf.grad, torch.full_like(leaf, 1 / 48))
    assert info == {}
    each, _ = ask(lambda images, *_: [image.mean() for image in images], leaf, PROMPTS, [{}] * 2)
    assert each.requires_grad and torch.equal(each, scores)


@pytest.mark.parametrize(
    "answer", [(0.25, 0.5), [0.25, 0.5], ([0.25, 0.5], {"a": 1}), (torch.tensor([0.25, 0.5]), None)]
)
def test_two_pictures_and_a_pair(answer):
    scores, info = ask(lambda *_: answer, IMAGES, PROMPTS, [{}] * 2)
    assert scores.tolist() == [0.25, 0.5]
    assert info in ({}, {"a": 1}, None)


def test_pictures_of_a_model_that_diverged_are_not_the_fault_of_the_reward():
    spoilt = IMAGES.clone()
    spoilt[1, 2, 3, 3] = torch.nan
    with pytest.raises(PixwardError, match="^picture 1, prompt 'a dog', has values .* has diverged"):
        ask(lambda *_: pytest.fail("asked"), spoilt, PROMPTS, [{}] * 2)


def test_names():
    assert name_of(brightness) == "brightness"
    assert name_of(partial(brightness, scale=2.0)) == "brightness"
    assert name_of(torch.nn.Identity()) == "Identity"
    with pytest.raises(PixwardError, match="the reward mine is nan for picture 0, prompt 'a cat'"):
        ask(partial(brightness, scale=torch.nan), IMAGES, PROMPTS, [{}] * 2, "mine")
