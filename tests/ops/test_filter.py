"""Filters against scipy and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from pixward.ops import filter


def random_image(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


def scipy_blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(plane.astype(np.float64), sigma, mode="nearest", radius=max(1, math.ceil(3 * sigma)))


@pytest.mark.parametrize("sigma", [0.2, 0.64, 2.0, 7.3])
def test_gaussian_blur_is_scipy_s(sigma: float) -> None:
    image = random_image(13, 17)
    expected = np.stack([scipy_blur(plane, sigma) for plane in image[0].numpy()])
    np.testing.assert_allclose(filter.gaussian_blur(image, sigma)[0].numpy(), expected, atol=2e-6)


def test_gaussian_blur_of_zero_sigma_and_of_one_pixel() -> None:
    image = random_image(5, 5)
    assert filter.gaussian_blur(image, 0) is image
    dot = torch.full((1, 1, 1, 1), 0.3)
    torch.testing.assert_close(filter.gaussian_blur(dot, 4.0), dot)


def test_local_mean_on_a_small_picture_is_a_plain_blur() -> None:
    grey = random_image(200, 256, 1)
    np.testing.assert_allclose(
        filter.local_mean(grey, 0.02, 256)[0, 0].numpy(), scipy_blur(grey[0, 0].numpy(), 5.12), atol=3e-6
    )


def test_local_mean_on_a_large_picture_is_nearly_a_plain_blur() -> None:
    # Smooth content, as a wide blur sees it: the short cut over 256 px must agree with blurring all 1024.
    rows, columns = torch.meshgrid(torch.linspace(0, 9, 768), torch.linspace(0, 12, 1024), indexing="ij")
    grey = (0.5 + 0.25 * torch.sin(rows) + 0.2 * torch.cos(2 * columns))[None, None]
    expected = scipy_blur(grey[0, 0].numpy(), 0.02 * 1024)
    found = filter.local_mean(grey, 0.02, 256)[0, 0].numpy()
    assert found.shape == (768, 1024)
    error = np.abs(found - expected)
    assert float(error[64:-64, 64:-64].max()) < 1e-3
    assert float(error.max()) < 1e-2  # near the border the blur sees replicated pixels of another size
    assert float(np.abs(expected - grey[0, 0].numpy()).max()) > 0.03  # the blur does something


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (700, 2), (3, 5)])
def test_local_mean_of_a_flat_picture_is_flat_at_any_size(size: tuple[int, int]) -> None:
    flat = torch.full((1, 1, *size), 0.4)
    torch.testing.assert_close(filter.local_mean(flat, 0.02, 256), flat, atol=1e-6, rtol=0)


def plain_texture(image: np.ndarray, factor: float) -> np.ndarray:
    """``p x + (1 - p) blur``; the kernel is ones with a centre of 5, over 13; the border is left alone."""
    out = image.copy()
    for y in range(1, image.shape[0] - 1):
        for x in range(1, image.shape[1] - 1):
            around = sum(image[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1))
            blur = (around + 4 * image[y, x]) / 13
            out[y, x] = min(1.0, max(0.0, factor * image[y, x] + (1 - factor) * blur))
    return out


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 2.0])
def test_paper_texture_against_loops(factor: float) -> None:
    image = random_image(6, 7)
    expected = np.stack([plain_texture(plane.astype(np.float64), factor) for plane in image[0].numpy()])
    np.testing.assert_allclose(filter.paper_texture(image, factor)[0].numpy(), expected, atol=2e-6)


def test_paper_texture_by_hand() -> None:
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 0.5
    # The blur of the middle is 5/13 of .5; factor 0 takes it, 2 adds the same again on the other side.
    assert float(filter.paper_texture(image, 0.0)[0, 0, 1, 1]) == pytest.approx(2.5 / 13)
    assert float(filter.paper_texture(image, 2.0)[0, 0, 1, 1]) == pytest.approx(1 - 2.5 / 13)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (9, 2)])
def test_paper_texture_leaves_what_is_all_border(size: tuple[int, int]) -> None:
    image = random_image(*size)
    torch.testing.assert_close(filter.paper_texture(image, 0.0), image, atol=0, rtol=0)


def test_paper_texture_takes_one_factor_per_image() -> None:
    images = torch.cat([random_image(5, 6, seed=i) for i in range(3)])
    each = torch.tensor([0.0, 1.0, 1.7])
    out = filter.paper_texture(images, each)
    for i in range(3):
        torch.testing.assert_close(out[i : i + 1], filter.paper_texture(images[i : i + 1], float(each[i])))
