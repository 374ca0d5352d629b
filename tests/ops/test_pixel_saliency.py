"""The actions of saliency-driven editing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixward.ops.color import luma
from pixward.ops.filter import local_mean
from pixward.ops.pixel import CHROMA, CLARITY, SALIENCY, TONE, bent_tone, contrast_about_local_mean


def photo(seed=0, height=24, width=32):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def do(name, image):
    return SALIENCY.actions[SALIENCY.index(name)](image, None)


def test_the_order_is_part_of_the_weights():
    assert SALIENCY.names == (
        "nothing",
        "darker",
        "brighter",
        "less saturation",
        "more saturation",
        "less contrast",
        "more contrast",
    )


def test_tones_bend_between_black_and_white():
    tones = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    assert torch.allclose(do("brighter", tones), tones + TONE * torch.tensor([0.0, 0.1875, 0.25, 0.0]))
    assert torch.allclose(do("darker", tones), tones - TONE * torch.tensor([0.0, 0.1875, 0.25, 0.0]))
    beyond = torch.tensor([-0.2, 1.3]).view(1, 1, 1, 2)
    assert torch.equal(bent_tone(beyond, TONE), beyond)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SALIENCY.names), st.integers(0, 10_000))
def test_a_photo_stays_a_photo(name, seed):
    image = photo(seed, 8, 9)
    for _ in range(8):
        image = do(name, image)
    assert float(image.min()) >= -1e-6 and float(image.max()) <= 1 + 1e-6


def test_saturation_keeps_the_light_and_scales_the_colour():
    image = 0.4 + 0.1 * photo()
    for name, factor in (("more saturation", CHROMA), ("less saturation", 1 / CHROMA)):
        after = do(name, image)
        assert torch.allclose(luma(after), luma(image), atol=1e-5)
        assert torch.allclose(after - luma(after), factor * (image - luma(image)), atol=1e-5)


def test_contrast_keeps_the_local_brightness():
    """A bright region with a faint pattern stays as bright; about mid-grey it would become brighter as a whole."""
    image = 0.75 + 0.05 * photo(height=64, width=64)
    for name, factor in (("more contrast", CLARITY), ("less contrast", 1 / CLARITY)):
        after = do(name, image)
        assert float((after - image).mean().abs()) < 1e-3
        assert float(luma(after).std() / luma(image).std()) == pytest.approx(factor, abs=0.01)
        expected = image + (factor - 1) * (luma(image) - local_mean(luma(image), 0.05, 64))
        assert torch.allclose(after, expected, atol=1e-6)
    flat = torch.full((1, 3, 16, 16), 0.8)
    assert torch.allclose(contrast_about_local_mean(flat, 2.0), flat, atol=1e-6)
