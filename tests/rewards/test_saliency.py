from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

from pixward.envs.pixel import saliency
from pixward.rewards.saliency import (
    SaliencyReward,
    inside_and_outside,
    look,
    saliency_condition,
    saliency_target,
    signed,
)


def brightness(images):
    return images.mean(1)


def scene(height=6, width=8):
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(2, 3, height, width, generator=generator)
    mask = torch.zeros(2, height, width)
    mask[0, 1:3, 2:5] = 1
    mask[1, :, :2] = 1
    return photo, mask


def test_the_mean_is_half_of_inside_less_outside():
    photo, mask = scene()
    reward = SaliencyReward(brightness, stay=0.0)(photo, saliency_target(photo, mask))
    assert reward.shape == (2, 6, 8)
    for item in range(2):
        seen = photo[item].mean(0)
        inside, outside = seen[mask[item] == 1].mean(), seen[mask[item] == 0].mean()
        assert float(reward[item].mean()) == pytest.approx(float((inside - outside) / 2), abs=1e-6)
    assert bool((reward[mask == 1] >= 0).all()) and bool((reward[mask == 0] <= 0).all())


def test_the_price_is_the_distance_in_lightness_and_chroma():
    photo, mask = scene()
    other = photo.flip(3)
    blind = lambda images: torch.zeros_like(images[:, 0])  # noqa: E731
    found = SaliencyReward(blind, stay=0.4)(other, saliency_target(photo, mask))
    labs = [rgb2lab(images.movedim(1, 3).double().numpy()) for images in (photo, other)]
    light = labs[1][..., 0] - labs[0][..., 0]
    chroma = (labs[1][..., 1:] ** 2).sum(-1) ** 0.5 - (labs[0][..., 1:] ** 2).sum(-1) ** 0.5
    expected = -0.4 * (light**2 + chroma**2) ** 0.5 / 100
    assert abs(found.numpy() - expected).max() < 1e-3
    whole = ((labs[1] - labs[0]) ** 2).sum(-1) ** 0.5
    assert (-found.numpy() / 0.4 * 100 <= whole + 0.1).all()  # never more than the CIE 1976 difference
    assert float(SaliencyReward(blind)(photo, saliency_target(photo, mask)).abs().max()) == 0


def test_the_model_sees_what_a_person_would_and_once_only():
    photo, mask = scene()
    target, seen = saliency_target(photo, mask), []

    def model(images):
        seen.append(images)
        return images.mean(1)

    reward = SaliencyReward(model)
    wild = photo * 3 - 1
    first = reward(wild, target)
    assert torch.equal(reward(wild, target), first) and len(seen) == 1
    assert torch.equal(seen[0], wild.clamp(0, 1))
    assert not torch.equal(reward(wild, saliency_target(photo, 1 - mask)), first)
    assert len(seen) == 2


def test_an_episode_calls_the_model_once_per_picture():
    photo, mask = scene()
    calls = []

    def model(images):
        calls.append(1)
        return images.mean(1)

    env = saliency(SaliencyReward(model))
    state = env.reset({"image": photo, "clean": saliency_target(photo, mask)})
    for action in (1, 2, 3):
        state, gain = env.step(state, torch.full((2, 6, 8), action))
        assert gain.shape == (2, 6, 8)
    assert len(calls) == 4


def test_no_gradient_reaches_the_model():
    weight = torch.ones((), requires_grad=True)
    photo, mask = scene()
    assert not SaliencyReward(lambda images: images.mean(1) * weight)(photo, saliency_target(photo, mask)).requires_grad
    assert not look(lambda images: images.mean(1) * weight, photo).requires_grad


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 47))
def test_both_sides_count_the_same_however_large(count):
    mask = (torch.arange(48) < count).float().view(1, 6, 8)
    weights = signed(torch.ones(1, 6, 8), mask)
    assert float(weights[mask == 1].sum() / 48) == pytest.approx(0.5, abs=1e-4)
    assert float(weights[mask == 0].sum() / 48) == pytest.approx(-0.5, abs=1e-4)


def test_means_inside_and_outside():
    values = torch.tensor([[[0.2, 0.4], [0.6, 0.8]]])
    inside, outside = inside_and_outside(values, torch.tensor([[[1.0, 1.0], [0.0, 0.0]]]))
    assert float(inside) == pytest.approx(0.3) and float(outside) == pytest.approx(0.7)
    assert float(inside_and_outside(values, torch.zeros(1, 2, 2))[0]) == 0


def test_the_condition_is_mask_and_saliency():
    photo, mask = scene()
    planes = saliency_condition(photo, mask, brightness)
    assert planes.shape == (2, 2, 6, 8)
    assert torch.equal(planes[:, 0], mask) and torch.equal(planes[:, 1], photo.mean(1))


def test_models_and_shapes_that_do_not_fit():
    photo, mask = scene()
    target = saliency_target(photo, mask)
    with pytest.raises(ValueError, match=r"must return a tensor \(B, H, W\)"):
        SaliencyReward(lambda images: images)(photo, target)
    with pytest.raises(ValueError, match="must return a tensor"):
        SaliencyReward(lambda images: images.mean(1).numpy())(photo, target)
    with pytest.raises(ValueError, match="NaN or infinity"):
        SaliencyReward(lambda images: images.mean(1) / 0)(photo, target)
    with pytest.raises(ValueError, match="one shape"):
        SaliencyReward(brightness)(photo[:1], target)
    with pytest.raises(ValueError, match=r"mask \(B, H, W\)"):
        saliency_target(photo, mask[:1])
    with pytest.raises(ValueError, match="0 or more"):
        SaliencyReward(brightness, stay=-1)
