from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from pixward.search.transfer import distribution_transfer, histogram_match, reinhard

TRANSFERS = [reinhard, histogram_match, distribution_transfer]


def noise(height: int, width: int, seed: int, low: float = 0.2, high: float = 0.8) -> Tensor:
    return low + (high - low) * torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def tinted(height: int, width: int, seed: int) -> Tensor:
    """Correlated channels, as photos have them: a shared light, and warm where it is bright."""
    light = noise(height, width, seed)[:, :1]
    own = noise(height, width, seed + 1, 0, 0.2)
    return (light * torch.tensor([0.8, 0.7, 0.4]).view(1, 3, 1, 1) + own).clamp(0, 1)


def opponent(image: Tensor) -> np.ndarray:
    """Ruderman's l, alpha, beta ``(3, N)`` by the paper's eqs. 4 and 6, each axis written out."""
    rgb = image[0].flatten(1).double().numpy()
    rgb = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) + 1 / 255 / 12.92
    cone_l = np.log10(0.3811 * rgb[0] + 0.5783 * rgb[1] + 0.0402 * rgb[2])
    cone_m = np.log10(0.1967 * rgb[0] + 0.7244 * rgb[1] + 0.0782 * rgb[2])
    cone_s = np.log10(0.0241 * rgb[0] + 0.1288 * rgb[1] + 0.8444 * rgb[2])
    return np.stack(
        [
            (cone_l + cone_m + cone_s) / np.sqrt(3),
            (cone_l + cone_m - 2 * cone_s) / np.sqrt(6),
            (cone_l - cone_m) / np.sqrt(2),
        ]
    )


def test_reinhard_is_the_paper_worked_out() -> None:
    source, reference = noise(6, 7, 0), noise(5, 9, 1, 0.35, 0.65)
    ours, theirs = opponent(source), opponent(reference)
    moved = (ours - ours.mean(1, keepdims=True)) * (theirs.std(1) / ours.std(1))[:, None]
    moved += theirs.mean(1, keepdims=True)
    # The paper's way back, eqs. 8 and 9.
    whole, blue, red = moved[0] / np.sqrt(3), moved[1] / np.sqrt(6), moved[2] / np.sqrt(2)
    cones = 10 ** np.stack([whole + blue + red, whole + blue - red, whole - 2 * blue])
    exact = np.linalg.inv([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
    printed = np.array([[4.4679, -3.5873, 0.1193], [-1.2186, 2.3809, -0.1624], [0.0497, -0.2439, 1.2045]])
    got = reinhard(source, reference)[0].flatten(1).numpy()
    for back, tolerance in ((exact, 1e-5), (printed, 5e-3)):
        light = back @ cones - 1 / 255 / 12.92
        assert light.min() > 0.0031308 and light.max() < 1, "nothing may be clipped, or nothing is compared"
        np.testing.assert_allclose(got, 1.055 * light ** (1 / 2.4) - 0.055, atol=tolerance)


def test_reinhard_gives_the_references_means_and_deviations() -> None:
    source, reference = noise(20, 30, 2), tinted(25, 20, 3) * 0.5 + 0.2
    result, aim = opponent(reinhard(source, reference)), opponent(reference)
    np.testing.assert_allclose(result.mean(1), aim.mean(1), atol=1e-4)
    np.testing.assert_allclose(result.std(1), aim.std(1), atol=1e-4)


def test_histogram_match_by_hand() -> None:
    def picture(*values: float) -> Tensor:
        return torch.tensor(values).view(1, 1, 1, -1).repeat(1, 3, 1, 1)

    # All distinct, one size: the smallest gets the smallest, and so on.
    got = histogram_match(picture(0.9, 0.1, 0.5), picture(0.2, 0.8, 0.6))
    torch.testing.assert_close(got, picture(0.8, 0.2, 0.6))
    # 0.1 holds the quantiles 0 to 1/2 (middle 1/4), 0.5 holds 1/2 to 1 (3/4); the reference's middles are 1/8, 3/8, ...
    got = histogram_match(picture(0.5, 0.1, 0.1, 0.5), picture(0.0, 0.2, 0.4, 1.0))
    torch.testing.assert_close(got, picture(0.7, 0.1, 0.1, 0.7))
    # A flat picture goes to the median.
    torch.testing.assert_close(histogram_match(picture(0.3, 0.3), picture(0.0, 0.4, 1.0)), picture(0.4, 0.4))


def test_histogram_match_is_scikit_images() -> None:
    exposure = pytest.importorskip("skimage.exposure", reason="needs the extra bench: pip install 'pixward[bench]'")

    def theirs(source: Tensor, reference: Tensor) -> Tensor:
        images = (image[0].permute(1, 2, 0).numpy() for image in (source, reference))
        return torch.from_numpy(exposure.match_histograms(*images, channel_axis=2)).permute(2, 0, 1)[None]

    source, reference = noise(30, 40, 4), tinted(30, 40, 5)
    torch.testing.assert_close(histogram_match(source, reference), theirs(source, reference).float())
    other = tinted(50, 37, 6)
    difference = histogram_match(source, other) - theirs(source, other)
    assert float(difference.abs().mean()) < 1e-3


def test_swapping_black_and_white_swaps_the_match() -> None:
    source, reference = (noise(16, 16, 7) * 20).round() / 20, tinted(16, 20, 8)
    torch.testing.assert_close(histogram_match(1 - source, 1 - reference), 1 - histogram_match(source, reference))


def apart(first: Tensor, second: Tensor) -> float:
    """Mean Wasserstein distance of two pictures' colours along thirty directions."""
    directions = np.random.default_rng(0).normal(size=(30, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    ours, theirs = (directions @ image[0].flatten(1).numpy() for image in (first, second))
    return float(np.mean([wasserstein_distance(a, b) for a, b in zip(ours, theirs, strict=True)]))


def test_distribution_transfer_reaches_the_whole_distribution() -> None:
    # The source's channels know nothing of each other, the reference's rise together: curves alone cannot do it.
    source, reference = noise(40, 50, 9), tinted(45, 40, 10)
    by_channel = apart(histogram_match(source, reference), reference)
    whole = distribution_transfer(source, reference)
    assert apart(whole, reference) < 0.1 * by_channel
    ours, theirs = (torch.cov(image[0].flatten(1)) for image in (whole, reference))
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_its_first_iteration_is_the_match_by_channels() -> None:
    source, reference = noise(20, 20, 11), tinted(25, 20, 12)
    got = distribution_transfer(source, reference, iterations=1)
    torch.testing.assert_close(got, histogram_match(source, reference), atol=1e-4, rtol=0)


def test_its_seed_decides() -> None:
    source, reference = noise(12, 12, 13), tinted(12, 12, 14)
    first = distribution_transfer(source, reference, seed=1)
    assert torch.equal(first, distribution_transfer(source, reference, seed=1))
    assert not torch.equal(first, distribution_transfer(source, reference, seed=2))


def test_large_pictures_are_learned_from_a_grid() -> None:
    source, reference = noise(260, 300, 15), tinted(280, 260, 16)
    result = distribution_transfer(source, reference, iterations=6)
    assert result.shape == source.shape
    assert apart(result, reference) < 0.01


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_a_pictures_own_look_changes_nothing(transfer) -> None:
    # Black and white among the pixels, and many equal ones.
    source = ((noise(24, 24, 17, -0.2, 1.2).clamp(0, 1)) * 15).round() / 15
    torch.testing.assert_close(transfer(source, source), source, atol=1e-3, rtol=0)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_awkward_pictures_stay_pictures(transfer) -> None:
    grey = noise(9, 8, 18)[:, :1].repeat(1, 3, 1, 1)
    pictures = [
        torch.zeros(1, 3, 4, 5),
        torch.ones(1, 3, 4, 5),
        torch.tensor([0.9, 0.0, 0.3]).view(1, 3, 1, 1).expand(1, 3, 7, 3),
        torch.full((1, 3, 1, 1), 0.5),
        grey,
        tinted(6, 10, 19),
        noise(5, 5, 20, -0.5, 1.5).clamp(0, 1),
    ]
    for source in pictures:
        for reference in pictures:
            result = transfer(source, reference)
            assert result.shape == source.shape and result.dtype == torch.float32
            assert bool(result.isfinite().all())
            assert float(result.min()) >= 0 and float(result.max()) <= 1


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_a_flat_picture_stays_flat(transfer) -> None:
    # Rounding errors are no texture: stretched to the reference's contrast they would be noise.
    flat = torch.tensor([0.25, 0.5, 0.125]).view(1, 3, 1, 1).repeat(1, 1, 13, 11)
    for picture in (flat, flat + noise(13, 11, 25, -1e-7, 1e-7)):
        result = transfer(picture, tinted(20, 20, 21))[0].flatten(1)
        assert float((result.amax(1) - result.amin(1)).max()) < 1e-3


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_errors(transfer) -> None:
    fine = noise(4, 4, 22)
    for broken in (fine[0], fine[:, :1], fine.repeat(2, 1, 1, 1), fine[..., :0]):
        with pytest.raises(ValueError, match=r"source must be \(1, 3, H, W\)"):
            transfer(broken, fine)
        with pytest.raises(ValueError, match=r"reference must be \(1, 3, H, W\)"):
            transfer(fine, broken)
    with pytest.raises(ValueError, match="reference has pixels that are no finite numbers"):
        transfer(fine, fine / 0 * 0)


def test_no_iterations() -> None:
    with pytest.raises(ValueError, match="at least one iteration"):
        distribution_transfer(noise(4, 4, 23), noise(4, 4, 24), iterations=0)
