"""Damage: its strength, its shape, its seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from pixward.data.corrupt import (
    ScratchStyle,
    TextStyle,
    find_fonts,
    gaussian_noise,
    jpeg,
    poisson_noise,
    salt_pepper,
    scratches,
    text_overlay,
)

HARD = TextStyle(extreme=1, smooth=0, tilted=0, jpeg=0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey(batch: int = 2, side: int = 64, level: float = 0.5) -> Tensor:
    return torch.full((batch, 1, side, side), level)


DAMAGES: list[Callable[[Tensor, torch.Generator | None], tuple[Tensor, Tensor]]] = [
    lambda image, g: gaussian_noise(image, (5, 60), g),
    lambda image, g: poisson_noise(image, (5, 60), g),
    lambda image, g: salt_pepper(image, (0.1, 0.9), g),
    lambda image, g: text_overlay(image, None, g),
    lambda image, g: scratches(image, None, g),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_seed_repeats_and_another_differs(damage: Any) -> None:
    image = torch.rand(3, 1, 40, 56, generator=seeded())
    kept = image.clone()
    one, again, other = (damage(image, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(image, kept)
    assert one[0].shape == image.shape
    assert one[0].dtype == torch.float32
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[1], again[1])
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_global_generator_seeds_it_too(damage: Any) -> None:
    image = grey()
    torch.manual_seed(4)
    first = damage(image, None)[0]
    torch.manual_seed(4)
    assert torch.equal(first, damage(image, None)[0])


def test_gaussian_noise_has_its_sigma_and_is_not_clipped() -> None:
    noisy, sigma = gaussian_noise(grey(4, 128, 0.98), 25.0, seeded())
    assert sigma.tolist() == [25.0] * 4
    assert (noisy - 0.98).std().item() * 255 == pytest.approx(25, rel=0.02)
    assert noisy.max() > 1


def test_every_image_draws_its_own_sigma() -> None:
    image = grey(16, 96)
    noisy, sigma = gaussian_noise(image, (5.0, 60.0), seeded())
    assert sigma.shape == (16,)
    assert sigma.min() >= 5
    assert sigma.max() <= 60
    assert len(set(sigma.tolist())) == 16
    measured = (noisy - image).flatten(1).std(1) * 255
    torch.testing.assert_close(measured, sigma, rtol=0.05, atol=0)


def test_poisson_noise_is_counts_of_variance_mean_over_peak() -> None:
    noisy, peak = poisson_noise(grey(1, 256, 0.4), 30.0, seeded())
    counts = noisy * peak
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-4)
    assert noisy.mean().item() == pytest.approx(0.4, rel=0.01)
    assert noisy.var().item() == pytest.approx(0.4 / 30, rel=0.04)


@settings(max_examples=15, deadline=None)
@given(density=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_salt_and_pepper_hits_its_share_half_black_half_white(density: float, seed: int) -> None:
    image = grey(1, 128)
    damaged, drawn = salt_pepper(image, density, seeded(seed))
    hit = damaged != image
    assert drawn.item() == pytest.approx(density, abs=1e-6)
    assert set(damaged[hit].unique().tolist()) <= {0.0, 1.0}
    # 6 standard deviations of a binomial share over 16384 pixels
    assert hit.float().mean().item() == pytest.approx(density, abs=6 * (density * (1 - density) / 16384) ** 0.5 + 1e-6)
    assert (damaged[hit] == 1).sum().item() == pytest.approx(hit.sum().item() / 2, abs=3 * hit.sum().item() ** 0.5 + 1)


def test_text_changes_the_letters_and_nothing_else() -> None:
    image = torch.rand(8, 1, 96, 120, generator=seeded()) * 0.8 + 0.1
    damaged, where = text_overlay(image, HARD, seeded())
    assert where.dtype == torch.bool
    assert where.shape == image.shape
    assert torch.equal(damaged[~where], image[~where])
    for one, place in zip(damaged, where, strict=True):
        assert len(one[place].unique()) <= 1  # black or white, and all of a picture's letters alike
    assert set(damaged[where].unique().tolist()) == {0.0, 1.0}
    assert 0.03 < where.float().mean() < 0.35


def test_soft_letters_have_edges_between() -> None:
    image = grey(4)
    soft = text_overlay(image, TextStyle(extreme=1, smooth=1, tilted=0, jpeg=0), seeded())[0]
    hard = text_overlay(image, HARD, seeded())[0]
    assert len(soft.unique()) > 20
    assert set(hard.unique().tolist()) <= {0.0, 0.5, 1.0}


def test_text_of_a_grey_level() -> None:
    damaged, where = text_overlay(grey(24), TextStyle(extreme=0, smooth=0, tilted=0, jpeg=0), seeded())
    assert len(damaged[where].unique()) > 10


def test_text_through_jpeg_is_eight_bit_and_rings() -> None:
    image = torch.rand(1, 1, 64, 64, generator=seeded())
    damaged, where = text_overlay(image, TextStyle(jpeg=1), seeded())
    torch.testing.assert_close(damaged * 255, (damaged * 255).round())
    assert (damaged[~where] != image[~where]).float().mean() > 0.5


def test_jpeg_is_pillows() -> None:
    image = grey(1, 16)
    image[..., :8] = 0.1
    out = jpeg(image, 75)
    assert out.shape == image.shape
    assert 0 < (out - image).abs().max() < 0.1


def test_fonts_that_were_found_are_drawn_with() -> None:
    fonts = find_fonts()
    if not fonts:
        pytest.skip("no fonts on this machine beside Pillow's")
    image = grey(8)
    assert not torch.equal(
        text_overlay(image, HARD, seeded())[0],
        text_overlay(image, TextStyle(extreme=1, smooth=0, tilted=0, jpeg=0, fonts=fonts), seeded())[0],
    )


def test_scratches_are_thin_and_leave_the_rest() -> None:
    image = torch.rand(8, 1, 96, 96, generator=seeded())
    damaged, where = scratches(image, ScratchStyle(count=(2, 4), smooth=0), seeded())
    assert torch.equal(damaged[~where], image[~where])
    share = where.float().mean().item()
    assert 0 < share < 4 * 3 * 200 / 96**2  # four curves, three wide, hardly longer than two sides


def test_one_pixel_is_enough() -> None:
    for damage in DAMAGES:
        assert damage(grey(1, 1), seeded())[0].shape == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: gaussian_noise(grey(), -1.0),
        lambda: gaussian_noise(grey(), float("nan")),
        lambda: gaussian_noise(grey(), (9.0, 3.0)),
        lambda: salt_pepper(grey(), 1.2),
        lambda: poisson_noise(grey(), 0.0),
        lambda: text_overlay(torch.rand(1, 3, 8, 8)),
        lambda: scratches(torch.rand(8, 8)),
    ],
)
def test_nonsense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="strength|grey images"):
        wrong()


def test_like_the_papers_test_pictures(shared_data: Any) -> None:
    """Over their 68 pictures the authors' text costs as much as ours over the same: 16.6 dB is left."""
    files = sorted((shared_data / "denoise" / "BSD68").glob("*.png"))
    generator = seeded()
    left = []
    for file in files:
        image = torch.from_numpy(np.array(Image.open(file).convert("L"))).float()[None, None] / 255
        left.append(-10 * (text_overlay(image, HARD, generator)[0] - image).square().mean().log10().item())
    assert np.mean(left) == pytest.approx(16.6, abs=1.2)
