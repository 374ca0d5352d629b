from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixward.metrics.image import PSNR_EXACT, ciede2000, delta_e, mse, psnr, srgb_to_lab, ssim

METRICS = [mse, psnr, ssim, delta_e]


def pair(height: int, width: int, seed: int = 0, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(batch, 3, height, width, generator=generator)
    noise = 0.1 * torch.randn(target.shape, generator=generator)
    return (0.8 * target + noise).clamp(0, 1), target


def to_numpy(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).double().numpy()


def test_mse_and_psnr_of_known_differences() -> None:
    target = torch.zeros(3, 3, 4, 5)
    output = target + torch.tensor([0.0, 0.1, 1.0]).view(3, 1, 1, 1)
    assert mse(output, target).tolist() == pytest.approx([0, 0.01, 1])
    assert psnr(output, target).tolist() == pytest.approx([PSNR_EXACT, 20, 0], abs=1e-4)


@pytest.mark.parametrize("size", [(11, 11), (12, 40), (37, 23)])
def test_ssim_equals_scikit_image(size: tuple[int, int]) -> None:
    skimage = pytest.importorskip("skimage.metrics")
    output, target = pair(*size)
    for ours, a, b in zip(ssim(output, target), output, target, strict=True):
        theirs = skimage.structural_similarity(
            to_numpy(a),
            to_numpy(b),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=-1,
            data_range=1,
        )
        assert float(ours) == pytest.approx(theirs, abs=1e-4)


def test_ssim_equals_torchmetrics_away_from_the_border() -> None:
    # torchmetrics averages over padded windows too; Wang et al. and scikit-image count whole windows only.
    functional = pytest.importorskip("torchmetrics.functional.image")
    output, target = pair(31, 45, seed=1)
    _, full = functional.structural_similarity_index_measure(
        output, target, data_range=1.0, reduction="none", return_full_image=True
    )
    torch.testing.assert_close(ssim(output, target), full[..., 5:-5, 5:-5].mean((1, 2, 3)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (5, 30), (10, 10)])
def test_small_images_have_finite_scores(size: tuple[int, int]) -> None:
    output, target = pair(*size, seed=2)
    for metric in METRICS:
        score = metric(output, target)
        assert score.shape == (2,)
        assert torch.isfinite(score).all()
    torch.testing.assert_close(ssim(target, target), torch.ones(2))
    assert (ssim(output, target) < 1).all()


def test_ssim_of_one_pixel_compares_brightness_alone() -> None:
    output, target = torch.full((1, 1, 1, 1), 0.2), torch.full((1, 1, 1, 1), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert float(ssim(output, target)) == pytest.approx(expected, abs=1e-6)


# Some rows of Sharma, Wu and Dalal 2005, table 1: blue, grey, opposite hues, large and small differences, dark.
SHARMA = [
    (50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425),
    (50.0, 0.0, 0.0, 50.0, -1.0, 2.0, 2.3669),
    (50.0, 2.4900, -0.0010, 50.0, -2.4900, 0.0009, 7.1792),
    (50.0, 2.4900, -0.0010, 50.0, -2.4900, 0.0011, 7.2195),
    (50.0, -0.0010, 2.4900, 50.0, 0.0009, -2.4900, 4.8045),
    (50.0, -0.0010, 2.4900, 50.0, 0.0011, -2.4900, 4.7461),
    (50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492),
    (50.0, 2.5, 0.0, 50.0, 3.2592, 0.3350, 1.0000),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
    (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
]


@pytest.mark.parametrize("row", SHARMA)
def test_ciede2000_equals_published_pairs(row: tuple[float, ...]) -> None:
    first, second = torch.tensor(row[:3], dtype=torch.float64), torch.tensor(row[3:6], dtype=torch.float64)
    assert float(ciede2000(first[None], second[None])) == pytest.approx(row[6], abs=1e-4)
    assert float(ciede2000(second[None], first[None])) == pytest.approx(row[6], abs=1e-4)


def test_lab_and_delta_e_equal_scikit_image() -> None:
    skimage = pytest.importorskip("skimage.color")
    output, target = pair(24, 17, seed=3)
    output[0, :, :3], target[0, :, 5:8] = 0, 1
    output[1, :, 4:9] = target[1, :, 4:9] = 0.5
    for a, b, ours in zip(output, target, delta_e(output, target), strict=True):
        lab_a, lab_b = skimage.rgb2lab(to_numpy(a)), skimage.rgb2lab(to_numpy(b))
        np.testing.assert_allclose(to_numpy(srgb_to_lab(a[None])[0]), lab_a, atol=1e-3)
        assert float(ours) == pytest.approx(skimage.deltaE_ciede2000(lab_a, lab_b).mean(), abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 14), st.integers(1, 14))
def test_metrics_are_symmetric_and_know_equality(seed: int, height: int, width: int) -> None:
    output, target = pair(height, width, seed=seed, batch=1)
    perfect = {mse: 0.0, psnr: PSNR_EXACT, ssim: 1.0, delta_e: 0.0}
    for metric in METRICS:
        torch.testing.assert_close(metric(output, target), metric(target, output), atol=1e-4, rtol=1e-4)
        assert float(metric(target, target)) == pytest.approx(perfect[metric], abs=1e-5)


def test_a_batch_is_scored_row_by_row() -> None:
    output, target = pair(13, 15, seed=4, batch=3)
    for metric in METRICS:
        alone = torch.cat([metric(output[i : i + 1], target[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(metric(output, target), alone)


def test_more_noise_scores_worse() -> None:
    _, target = pair(32, 32, seed=5, batch=1)
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(6))
    noisy = [(target + level * noise).clamp(0, 1) for level in (0.01, 0.03, 0.1)]
    for metric, sign in ((mse, 1), (psnr, -1), (ssim, -1), (delta_e, 1)):
        scores = [sign * float(metric(image, target)) for image in noisy]
        assert scores == sorted(scores)
        assert all(math.isfinite(score) for score in scores)


def test_shapes_that_differ_are_refused() -> None:
    for metric in METRICS:
        with pytest.raises(ValueError, match="one shape"):
            metric(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5))
        with pytest.raises(ValueError, match="one shape"):
            metric(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="three channels"):
        delta_e(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
