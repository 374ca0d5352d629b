"""The fast look reward: values worked out apart, what it must not see, what it must."""

import numpy as np
import pytest
import torch

from pixward.editors.chain import PHOTO
from pixward.rewards import look as module
from pixward.rewards.look import DIRECTIONS, FEATURES, QUANTILES, look, look_features, look_gap


def picture(seed: int, height: int = 40, width: int = 56) -> torch.Tensor:
    smooth = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(smooth, size=(height, width), mode="bicubic").clamp(0, 1)


def test_zero_for_equals_and_negative_else():
    first, second = picture(0), picture(1)
    assert float(look(first, first)) == 0
    assert float(look(first, second)) < -1e-4
    assert torch.allclose(look(first, second), look(second, first))


def test_lightness_part_is_the_wasserstein_distance():
    """Against quantiles sorted and averaged by NumPy, and OKLab worked out in float64 for greys (L = cube root)."""
    ramps = [np.linspace(0.1, high, 48 * 48).reshape(48, 48) for high in (0.9, 0.6)]
    pictures = [torch.from_numpy(ramp).float().expand(1, 3, -1, -1) for ramp in ramps]
    found = [look_features(one)[0, :QUANTILES] for one in pictures]
    light = []
    for ramp in ramps:
        linear = np.where(ramp <= 0.04045, ramp / 12.92, ((ramp + 0.055) / 1.055) ** 2.4)
        light.append(np.sort(np.cbrt(linear).flatten()).reshape(QUANTILES, -1).mean(1))
    expected = module.TONE_WEIGHT * np.mean((light[0] - light[1]) ** 2)
    assert float((found[0] - found[1]).square().sum()) == pytest.approx(expected, rel=1e-3)


def test_contrast_part_by_hand():
    """One bright pixel on grey: the surroundings of 3 x 3 pixels lower it by 8/9 of its height."""
    grey = torch.full((1, 3, 33, 33), 0.5)
    spot = grey.clone()
    spot[..., 16, 16] = 1.0
    light = module.linear_to_oklab(module.srgb_to_linear(spot))[0, 0]
    high, low = float(light[16, 16]), float(light[0, 0])
    around = module._around(light[None, None], 3)[0, 0]
    assert float(around[16, 16]) == pytest.approx(low + (high - low) / 9, rel=1e-5)
    assert float(around[0, 0]) == pytest.approx(low, rel=1e-5)
    dull, sharp = (look_features(one)[0, -9:] for one in (grey, spot))
    assert float((sharp - dull).min()) >= 0 and float((sharp - dull).max()) > 1e-3


def test_where_things_are_does_not_count():
    """A picture mirrored has every pixel elsewhere, and the same look."""
    first = picture(3)
    assert float(look(first, first.flip(3))) > -1e-5


def test_size_hardly_counts():
    first = picture(4, 64, 64)
    larger = torch.nn.functional.interpolate(first, size=(64, 128), mode="bilinear")
    assert float(look(first, larger)) > 0.1 * float(look(first, (first * 0.7)))


@pytest.mark.parametrize("slider", ["exposure", "temperature", "tint", "contrast", "saturation", "clarity"])
def test_every_kind_of_slider_is_seen_and_more_of_it_is_farther(slider):
    source = picture(5, 96, 128)
    distances = []
    for value in (0.0, 0.3, 0.8):
        action = torch.zeros(1, len(PHOTO.space))
        action[0, PHOTO.space.index(slider)] = value
        distances.append(-float(look(PHOTO(source, PHOTO.space.denormalize(action)), source)))
    assert distances[0] < 1e-6 < distances[1] < distances[2]


def test_batches_and_one_target():
    outputs = torch.cat([picture(0), picture(1)])
    both = look(outputs, picture(2))
    assert both.shape == (2,)
    assert torch.allclose(both, torch.cat([look(one[None], picture(2)) for one in outputs]), atol=1e-6)
    assert look_features(outputs).shape == (2, FEATURES)
    assert look_gap(outputs, picture(2)).shape == (2,)


def test_gradient_flows_and_points_home():
    target = picture(6)
    start = (target * 0.8).requires_grad_()
    look(start, target).sum().backward()
    assert start.grad is not None and bool(start.grad.isfinite().all())
    nearer = (start + 1e-2 * start.grad / start.grad.norm()).detach()
    assert float(look(nearer, target)) > float(look(start, target))


def test_black_white_and_grey_are_finite():
    for value in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 20, 20), value, requires_grad=True)
        distance = look(flat, picture(7))
        distance.sum().backward()
        assert bool(distance.isfinite()) and bool(flat.grad.isfinite().all())


def test_directions_are_unit_vectors_and_spread():
    assert torch.allclose(DIRECTIONS.norm(dim=1), torch.ones(len(DIRECTIONS)), atol=1e-6)
    alike = (DIRECTIONS @ DIRECTIONS.T).abs() - torch.eye(len(DIRECTIONS))
    assert float(alike.max()) < 0.99


@pytest.mark.parametrize(
    "bad",
    [
        torch.rand(3, 20, 20),
        torch.rand(1, 1, 20, 20),
        torch.rand(1, 3, 15, 20),
        torch.full((1, 3, 20, 20), float("nan")),
    ],
)
def test_bad_pictures(bad):
    with pytest.raises(ValueError, match="a look needs pictures"):
        look_features(bad)
