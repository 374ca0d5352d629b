"""The two built-in chains: the paper's against a pixel-by-pixel reference, the photographer's by what it promises."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from pixward.editors.chain import PAPER, PHOTO, Chain, photo_tone
from pixward.image import quantize
from pixward.ops.color import luma

CHAINS = pytest.mark.parametrize("chain", [PAPER, PHOTO], ids=["paper", "photo"])
EXTREMES = [(0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0.5, 0.5, 0.5), (1e-4, 0, 2e-4)]


def photos(batch: int = 1, height: int = 7, width: int = 6, seed: int = 0) -> Tensor:
    """Random pixels, with black, white and pure colours among them."""
    images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))
    for i, pixel in enumerate(EXTREMES):
        images[:, :, 1 + i // 4, 1 + i % 4] = torch.tensor(pixel, dtype=torch.float32)
    return images


def random_params(chain: Chain, batch: int, seed: int, reach: float = 1.0) -> Tensor:
    action = torch.rand(batch, len(chain.space), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return chain.space.denormalize(action * reach)


def ramp_of_flat_images(levels: int) -> Tensor:
    """Every level of grey as an image of its own, so that filters find no neighbours."""
    return torch.linspace(0, 1, levels)[:, None, None, None].expand(-1, 3, 2, 2).contiguous()


# --- chain:paper against a reference written from the paper's table alone ---------------------------------------


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def clip(pixel: list[float]) -> list[float]:
    return [min(1.0, max(0.0, value)) for value in pixel]


def reference_pixel(pixel: list[float], p: dict[str, float]) -> list[float]:
    """The six pointwise filters, in order, each clipped to [0, 1]."""
    pixel = clip([value * 2 ** p["exposure"] for value in pixel])
    pixel = clip([value * p[f"wb_{name}"] for value, name in zip(pixel, ("red", "green", "blue"), strict=True)])
    grey = 0.2989 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]
    pixel = clip([grey + (1 + p["saturation"]) * (value - grey) for value in pixel])
    weight = 0.27 * pixel[0] + 0.67 * pixel[1] + 0.06 * pixel[2]
    curve = (0.5 - 0.5 * math.cos(math.pi * weight)) / (weight + 1e-6)
    pixel = clip([(1 - p["contrast"]) * value + p["contrast"] * value * curve for value in pixel])
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    value = 1 - (1 - value) * (1 - 13 * p["highlights"] * sigmoid(13 * (value - 1)))
    pixel = clip(list(colorsys.hsv_to_rgb(hue, saturation, value)))
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    value = value * (1 + 12 * p["shadows"] * (1 - sigmoid(12 * value)))
    return clip(list(colorsys.hsv_to_rgb(hue, saturation, value)))


def reference_paper(image: np.ndarray, p: dict[str, float]) -> np.ndarray:
    """``(H, W, 3)`` through all seven filters."""
    image = np.array([[reference_pixel(pixel.tolist(), p) for pixel in row] for row in image])
    out = image.copy()
    for y in range(1, image.shape[0] - 1):
        for x in range(1, image.shape[1] - 1):
            blur = (image[y - 1 : y + 2, x - 1 : x + 2].sum((0, 1)) + 4 * image[y, x]) / 13
            out[y, x] = np.clip(p["texture"] * image[y, x] + (1 - p["texture"]) * blur, 0, 1)
    return out


@pytest.mark.parametrize("seed", range(12))
def test_paper_against_the_reference(seed: int) -> None:
    image, params = photos(seed=seed), random_params(PAPER, 1, seed)
    setting = dict(zip(PAPER.space.names, params[0].double().tolist(), strict=True))
    expected = reference_paper(image[0].permute(1, 2, 0).double().numpy(), setting)
    found = PAPER(image, params)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, atol=3e-5)


@pytest.mark.parametrize("name", PAPER.space.names)
@pytest.mark.parametrize("end", [-1.0, 1.0])
def test_each_paper_slider_alone_against_the_reference(name: str, end: float) -> None:
    action = PAPER.space.default_action()
    action[0, PAPER.space.index(name)] = end
    params, image = PAPER.space.denormalize(action), photos()
    setting = dict(zip(PAPER.space.names, params[0].double().tolist(), strict=True))
    expected = reference_paper(image[0].permute(1, 2, 0).double().numpy(), setting)
    found = PAPER(image, params)
    np.testing.assert_allclose(found[0].permute(1, 2, 0).numpy(), expected, atol=3e-5)
    assert float((found - image).abs().max()) > 0.05  # the slider does something


@pytest.mark.parametrize(
    ("slider", "value", "low", "high"), [("highlights", -1.0, 0.745, 0.861), ("shadows", 1.0, 0.156, 0.261)]
)
def test_paper_inverts_tones(slider: str, value: float, low: float, high: float) -> None:
    """A defect of the published pipeline, kept to the letter; the reason why ``chain:photo`` is the default."""
    levels = torch.linspace(0, 1, 2001)
    out = PAPER(ramp_of_flat_images(2001), PAPER.space.from_dict({slider: value})[None])[:, 0, 0, 0]
    falling = levels[1:][out.diff() < -1e-6]
    assert float(falling.min()) == pytest.approx(low, abs=3e-3)
    assert float(falling.max()) == pytest.approx(high, abs=3e-3)


# --- chain:photo --------------------------------------------------------------------------------------------------


@CHAINS
def test_defaults_change_nothing(chain: Chain) -> None:
    levels = torch.arange(256) / 255
    images = torch.stack([levels.roll(shift) for shift in (0, 85, 170)]).reshape(1, 3, 16, 16)
    images = torch.cat([images, quantize(photos(1, 16, 16))])
    out = chain(images, chain.space.defaults(2))
    assert float((out - images).abs().max()) < 1e-5
    assert torch.equal(quantize(out), quantize(images))


@given(st.lists(st.floats(-1, 1, width=32), min_size=12, max_size=12))
@hypothesis_settings(max_examples=200)
def test_photo_tone_is_monotone_in_every_channel(action: list[float]) -> None:
    params = PHOTO.space.denormalize(torch.tensor([action]))
    ramp = torch.linspace(0, 1, 1025).expand(1, 3, 1, -1)
    assert float(photo_tone(ramp, params).diff(dim=-1).min()) >= -2e-7  # rounding of float32


@given(st.lists(st.floats(-1, 1, width=32), min_size=12, max_size=12))
@hypothesis_settings(max_examples=200)
def test_photo_never_inverts_the_tones_of_greys(action: list[float]) -> None:
    action[1] = action[2] = 0.0  # balanced: greys stay grey
    params = PHOTO.space.denormalize(torch.tensor([action]))
    out = PHOTO(ramp_of_flat_images(257), params)
    assert float((out.amax(1) - out.amin(1)).max()) < 2e-6
    assert float(out.diff(dim=0).min()) >= -2e-6


# The ends of the sliders, where colours leave the gamut.
CORNERS = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=12, max_size=12)


@given(st.one_of(CORNERS, st.lists(st.floats(-1, 1, width=32), min_size=12, max_size=12)))
@hypothesis_settings(max_examples=300)
def test_photo_keeps_the_order_of_luma_under_any_setting(action: list[float]) -> None:
    """White balance gives greys a colour; saturation stops at the rim instead of clipping, so that luma keeps order."""
    params = PHOTO.space.denormalize(torch.tensor([action]))
    level = luma(PHOTO(ramp_of_flat_images(257), params))[:, 0, 0, 0]
    assert float((level.cummax(0).values - level).max()) <= 2e-6
    assert float(level[-1]) >= float(level[0])


@pytest.mark.parametrize(
    ("setting", "pixel", "expected"),
    [
        # One stop is twice the linear light: .5 -> .214041 -> .428082 -> .686...
        ({"exposure": 1}, (0.5, 0.5, 0.5), [1.055 * (2 * 0.21404114) ** (1 / 2.4) - 0.055] * 3),
        ({"saturation": -100}, (0.6, 0.5, 0.4), [0.51404] * 3),
        ({"contrast": 100}, (0.25, 0.25, 0.25), [0.165625] * 3),
        ({"highlights": 100}, (0.5, 0.5, 0.5), [0.61875] * 3),
        ({"shadows": -100}, (0.5, 0.5, 0.5), [0.38125] * 3),
        ({"whites": -100}, (1, 1, 1), [0.75] * 3),
        ({"blacks": 100}, (0, 0, 0), [0.2] * 3),
        ({"vibrance": 100}, (0.6, 0.5, 0.4), [0.668768, 0.488768, 0.308768]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_photo_sliders_by_hand(setting: dict, pixel: tuple, expected: list[float]) -> None:
    image = torch.tensor(pixel, dtype=torch.float32)[None, :, None, None].expand(1, 3, 3, 3)
    out = PHOTO(image, PHOTO.space.from_dict(setting)[None])
    assert out[0, :, 1, 1].tolist() == pytest.approx(expected, abs=5e-6)


def test_temperature_and_tint_go_the_right_way() -> None:
    grey = torch.full((1, 3, 2, 2), 0.5)
    warm = PHOTO(grey, PHOTO.space.from_dict({"temperature": 50})[None])[0, :, 0, 0]
    magenta = PHOTO(grey, PHOTO.space.from_dict({"tint": 50})[None])[0, :, 0, 0]
    assert warm[0] > 0.5 > warm[2]
    assert magenta[0] > 0.5 > magenta[1]


@pytest.mark.parametrize("name", ["clarity", "sharpness"])
def test_local_sliders_act_on_edges_only(name: str) -> None:
    edge = torch.full((1, 3, 64, 256), 0.3)
    edge[..., 128:] = 0.6
    more = PHOTO(edge, PHOTO.space.from_dict({name: 80})[None])
    less = PHOTO(edge, PHOTO.space.from_dict({name: -80})[None])
    step = [float(image[0, 0, 32, 128] - image[0, 0, 32, 127]) for image in (less, edge, more)]
    assert step[0] < step[1] - 0.02
    assert step[2] > step[1] + 0.02
    torch.testing.assert_close(more[..., :90], edge[..., :90], atol=1e-5, rtol=0)


def test_a_setting_found_on_a_preview_holds_at_full_size() -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 20, 384), torch.linspace(0, 30, 512), indexing="ij")
    waves = [0.5 + 0.3 * torch.sin(rows + shift) * torch.cos(columns - shift) for shift in (0.0, 0.7, 1.5)]
    photo = torch.stack(waves)[None]
    reduce = torch.nn.AvgPool2d(2)
    params = random_params(PHOTO, 1, 3, reach=0.6)
    difference = PHOTO(reduce(photo), params) - reduce(PHOTO(photo, params))
    assert float(difference.square().mean().sqrt()) < 1.5 / 255
    assert float((PHOTO(photo, params) - photo).abs().mean()) > 0.02  # the setting does something


# --- both ---------------------------------------------------------------------------------------------------------


@CHAINS
@pytest.mark.parametrize("seed", range(6))
def test_gradients_are_finite_everywhere(chain: Chain, seed: int) -> None:
    images = photos(4, seed=seed).requires_grad_()
    params = torch.cat([random_params(chain, 3, seed), chain.space.defaults()]).requires_grad_()
    out = chain(images, params)
    weights = torch.rand(out.shape, generator=torch.Generator().manual_seed(seed + 1))
    (out * weights).sum().backward()
    for gradient in (images.grad, params.grad):
        assert gradient is not None
        assert torch.isfinite(gradient).all()
    assert params.grad is not None
    assert (params.grad[-1] != 0).all()  # at its default every slider can be felt


@CHAINS
def test_gradients_at_the_ends_are_finite(chain: Chain) -> None:
    for end in (-1.0, 1.0):
        params = chain.space.denormalize(torch.full((1, len(chain.space)), end)).requires_grad_()
        chain(photos(), params).sum().backward()
        assert params.grad is not None
        assert torch.isfinite(params.grad).all()


@CHAINS
def test_gradients_match_finite_differences(chain: Chain) -> None:
    images = photos(1, 12, 12) * 0.6 + 0.2
    base = chain.space.default_action() + 0.05
    action = base.clone().requires_grad_()
    chain(images, chain.space.denormalize(action)).mean().backward()
    assert action.grad is not None
    step = 2e-2
    for i in range(len(chain.space)):
        nudge = torch.zeros_like(base)
        nudge[0, i] = step
        up, down = (chain(images, chain.space.denormalize(base + sign * nudge)).double().mean() for sign in (1, -1))
        assert float(action.grad[0, i]) == pytest.approx(float(up - down) / (2 * step), abs=2e-3, rel=0.02)


@CHAINS
def test_a_batch_is_the_same_as_one_by_one(chain: Chain) -> None:
    images, params = photos(5), random_params(chain, 5, 1)
    together = chain(images, params)
    apart = torch.cat([chain(images[i : i + 1], params[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, apart, atol=1e-6, rtol=0)
    torch.testing.assert_close(chain(images, params[:1]), chain(images, params[:1].expand(5, -1)), atol=0, rtol=0)


@CHAINS
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (300, 3)])
def test_any_size_stays_in_range_and_leaves_its_input_alone(chain: Chain, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    out = chain(images, random_params(chain, 2, 2))
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert torch.equal(images, before)


@CHAINS
def test_wrong_shapes_are_named(chain: Chain) -> None:
    good = chain.space.defaults(2)
    with pytest.raises(ValueError, match=rf"{chain.name}: images must be \(B, 3, H, W\)"):
        chain(torch.zeros(2, 1, 4, 4), good)
    with pytest.raises(ValueError, match="images must be"):
        chain(torch.zeros(3, 4, 4), good)
    with pytest.raises(ValueError, match=rf"params must be \(2, {len(chain.space)}\)"):
        chain(torch.zeros(2, 3, 4, 4), good[:, 1:])
    with pytest.raises(ValueError, match="params must be"):
        chain(torch.zeros(5, 3, 4, 4), good)
