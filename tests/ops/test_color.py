"""Colour: values worked out by hand, and what greys do."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pixward.ops import color

amounts = st.floats(-1, 1, width=32)


def pixel(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue])[None, :, None, None]


def random_images(batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def test_luma_by_hand() -> None:
    # .2126 * .5 + .7152 * .25 + .0722 * 1 = .3573; .2989 * .5 + .587 * .25 + .114 = .4102
    assert float(color.luma(pixel(0.5, 0.25, 1.0))) == pytest.approx(0.3573, abs=1e-6)
    assert float(color.luma(pixel(0.5, 0.25, 1.0), color.REC601)) == pytest.approx(0.4102, abs=1e-6)
    assert color.luma(random_images()).shape == (2, 1, 4, 5)


def test_luma_weights_sum_to_one() -> None:
    assert sum(color.REC709) == pytest.approx(1)
    assert sum(color.REC601) == pytest.approx(0.9999)  # the paper's own weights fall short by that


def test_channel_gains_by_hand() -> None:
    out = color.channel_gains(pixel(0.5, 0.5, 0.8), torch.tensor([[0.5, 1.0, 2.0]]))
    assert out.flatten().tolist() == pytest.approx([0.25, 0.5, 1.0])


def test_white_balance_gains_by_hand() -> None:
    neutral, warm, magenta = color.white_balance_gains(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(neutral, torch.ones(3))
    scale = 0.2126 * math.exp(0.35) + 0.7152 + 0.0722 * math.exp(-0.35)
    assert warm.tolist() == pytest.approx([math.exp(0.35) / scale, 1 / scale, math.exp(-0.35) / scale], rel=1e-6)
    scale = (0.2126 + 0.0722) * math.exp(0.1) + 0.7152 * math.exp(-0.2)
    assert magenta.tolist() == pytest.approx(
        [math.exp(0.1) / scale, math.exp(-0.2) / scale, math.exp(0.1) / scale], rel=1e-6
    )


@given(st.tuples(amounts, amounts))
def test_white_balance_keeps_a_grey_s_brightness(sliders: tuple[float, float]) -> None:
    temperature, tint = (torch.tensor([slider]) for slider in sliders)
    grey = pixel(0.2, 0.2, 0.2) * color.white_balance_gains(temperature, tint)[:, :, None, None]
    assert float(color.luma(grey)) == pytest.approx(0.2, abs=1e-6)


def test_saturation_by_hand() -> None:
    # Luma of (.6, .5, .4) is .51404; -1 is that grey, 1 doubles the distance from it.
    before = pixel(0.6, 0.5, 0.4)
    assert color.saturation(before, -1).flatten().tolist() == pytest.approx([0.51404] * 3, abs=1e-6)
    assert color.saturation(before, 1).flatten().tolist() == pytest.approx([0.68596, 0.48596, 0.28596], abs=1e-6)
    assert color.saturation(before, 0).flatten().tolist() == pytest.approx([0.6, 0.5, 0.4], abs=1e-6)


def vibrance(image: torch.Tensor, amount: torch.Tensor | float) -> torch.Tensor:
    return color.saturation_in_gamut(image, amount, 0.0)


def saturation_alone(image: torch.Tensor, amount: torch.Tensor | float) -> torch.Tensor:
    return color.saturation_in_gamut(image, 0.0, amount)


def test_vibrance_by_hand() -> None:
    # max - min is .2, so the factor at 1 is 1.8 and at -1 it is .2; luma .51404 stays.
    before = pixel(0.6, 0.5, 0.4)
    more = [0.51404 + 1.8 * d for d in (0.08596, -0.01404, -0.11404)]
    less = [0.51404 + 0.2 * d for d in (0.08596, -0.01404, -0.11404)]
    assert vibrance(before, 1).flatten().tolist() == pytest.approx(more, abs=1e-6)
    assert vibrance(before, -1).flatten().tolist() == pytest.approx(less, abs=1e-6)


def test_vibrance_and_saturation_multiply() -> None:
    before = pixel(0.6, 0.5, 0.4)
    wanted = [0.51404 + 1.2 * 1.4 * d for d in (0.08596, -0.01404, -0.11404)]
    assert color.saturation_in_gamut(before, 0.5, 0.2).flatten().tolist() == pytest.approx(wanted, abs=1e-6)


def test_vibrance_spares_what_is_vivid() -> None:
    vivid = pixel(1.0, 0.0, 0.0)
    torch.testing.assert_close(vibrance(vivid, 1.0), vivid)
    torch.testing.assert_close(vibrance(vivid, -1.0), vivid)


def test_saturation_stops_at_the_rim() -> None:
    # Luma .2126 * .9 + .7152 * .5 + .0722 * .5 = .58504; red has room for (1 - .58504) / .31496 = 1.3175 only.
    factor = (1 - 0.58504) / (0.9 - 0.58504)
    wanted = [0.58504 + factor * (value - 0.58504) for value in (0.9, 0.5, 0.5)]
    assert saturation_alone(pixel(0.9, 0.5, 0.5), 1.0).flatten().tolist() == pytest.approx(wanted, abs=1e-6)


@given(st.lists(st.floats(0, 1, width=32), min_size=5, max_size=5))
def test_luma_stays(values: list[float]) -> None:
    before = pixel(*values[:3])
    after = color.saturation_in_gamut(before, 2 * values[3] - 1, 2 * values[4] - 1)
    torch.testing.assert_close(color.luma(after), color.luma(before), atol=2e-6, rtol=0)


@pytest.mark.parametrize("op", [color.saturation, vibrance, saturation_alone], ids=lambda op: op.__name__)
@given(level=st.floats(0, 1, width=32), amount=amounts)
def test_greys_stay_grey(op, level: float, amount: float) -> None:
    before = pixel(level, level, level)
    torch.testing.assert_close(op(before, amount), before, atol=1e-6, rtol=0)


@pytest.mark.parametrize("op", [color.saturation, vibrance, saturation_alone], ids=lambda op: op.__name__)
def test_one_amount_per_image_and_values_in_range(op) -> None:
    images, each = random_images(3), torch.tensor([-1.0, 0.3, 1.0])
    out = op(images, each)
    assert out.shape == images.shape
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    for i in range(3):
        torch.testing.assert_close(out[i : i + 1], op(images[i : i + 1], float(each[i])))
