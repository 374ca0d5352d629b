"""Tone curves: values worked out by hand, and what makes them fit for photographs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pixward.ops import tone

PHOTO_OPS = [tone.contrast, tone.highlights, tone.shadows, tone.whites, tone.blacks]
PAPER_OPS = [tone.paper_contrast, tone.paper_highlights, tone.paper_shadows]
Op = Callable[[Tensor, Tensor | float], Tensor]
amounts = st.floats(-1, 1, width=32)


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels, dtype=torch.float32)[None, None, None, :].expand(1, 3, 1, -1).clone()


RAMP = grey(*np.linspace(0, 1, 1025).tolist())


@pytest.mark.parametrize(
    ("op", "level", "amount", "expected"),
    [
        (tone.exposure, 0.25, 1.0, 0.5),
        (tone.exposure, 0.25, -1.0, 0.125),
        (tone.exposure, 0.5, 1.5, 1.0),  # clipped
        (tone.contrast, 0.25, 1.0, 0.165625),  # .25 + .9 * .25 * .75 * -.5
        (tone.contrast, 0.5, 1.0, 0.5),
        (tone.highlights, 0.5, 1.0, 0.61875),  # .5 + .95 * .25 * .5
        (tone.highlights, 0.9, -0.5, 0.861525),  # .9 - .475 * .81 * .1
        (tone.shadows, 0.5, -1.0, 0.38125),  # .5 - .95 * .5 * .25
        (tone.shadows, 0.1, 0.5, 0.138475),  # .1 + .475 * .1 * .81
        (tone.whites, 0.5, 1.0, 0.53125),  # .5 + .25 * .125
        (tone.whites, 1.0, -1.0, 0.75),
        (tone.whites, 1.0, 1.0, 1.0),  # clipped
        (tone.blacks, 0.5, -1.0, 0.475),  # .5 - .2 * .125
        (tone.blacks, 0.0, 1.0, 0.2),
        (tone.blacks, 0.0, -1.0, 0.0),  # clipped
        (tone.paper_contrast, 0.5, 1.0, 0.499999),  # .5 * .5 / .500001
        (tone.paper_contrast, 0.25, 1.0, 0.146446),  # .25 * (.5 - .5 cos(pi / 4)) / .250001
        (tone.paper_highlights, 1.0, -1.0, 1.0),  # cannot lower white
        (tone.paper_highlights, 0.0, 1.0, 13 / (1 + math.exp(13))),  # black turns grey
        (tone.paper_shadows, 0.0, 1.0, 0.0),
        (tone.paper_shadows, 0.5, 1.0, 0.5 * (1 + 12 / (1 + math.exp(6)))),
    ],
)
def test_values_by_hand(op: Op, level: float, amount: float, expected: float) -> None:
    assert op(grey(level), amount).flatten().tolist() == pytest.approx([expected] * 3, abs=2e-6)


def test_the_paper_s_value_ops_keep_hue_and_saturation() -> None:
    # V = .8: V' = 1 - .2 (1 - 13 p sigmoid(-2.6)); all channels scale by V'/V.
    pixel = torch.tensor([0.8, 0.4, 0.2])[None, :, None, None]
    value = 1 - 0.2 * (1 - 13 * 0.5 / (1 + math.exp(2.6)))
    torch.testing.assert_close(tone.paper_highlights(pixel, 0.5), pixel * value / 0.8)


def test_srgb_against_the_standard() -> None:
    encoded = np.linspace(0, 1, 4097)
    # IEC 61966-2-1 in float64.
    linear = np.array([v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in encoded])
    there = tone.srgb_to_linear(torch.tensor(encoded, dtype=torch.float32))
    np.testing.assert_allclose(there.numpy(), linear, atol=3e-7)
    np.testing.assert_allclose(tone.linear_to_srgb(there).numpy(), encoded, atol=2e-6)
    # Published anchors: 18 % grey is code 118 of 255, code 128 is 21.6 % light.
    assert round(float(tone.linear_to_srgb(torch.tensor(0.18))) * 255) == 118
    assert float(tone.srgb_to_linear(torch.tensor(128 / 255))) == pytest.approx(0.2158605, abs=1e-6)


@pytest.mark.parametrize("op", [tone.srgb_to_linear, tone.linear_to_srgb], ids=lambda op: op.__name__)
def test_srgb_has_gradients_at_both_ends(op: Callable[[Tensor], Tensor]) -> None:
    x = torch.tensor([0.0, 0.0031308, 0.04045, 1.0], requires_grad=True)
    op(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad > 0).all()


@pytest.mark.parametrize("op", PHOTO_OPS, ids=lambda op: op.__name__)
@given(amount=amounts)
def test_photo_curves_never_invert_tones(op: Op, amount: float) -> None:
    out = op(RAMP, amount)
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    # Half a unit in the last place of 1.0: rounding, not inversion.
    assert float(out.diff(dim=-1).min()) >= -6e-8


@pytest.mark.parametrize("op", [tone.contrast, tone.highlights, tone.shadows], ids=lambda op: op.__name__)
@given(amount=amounts)
def test_ends_stay(op: Op, amount: float) -> None:
    torch.testing.assert_close(op(grey(0, 1), amount), grey(0, 1), atol=0, rtol=0)


@pytest.mark.parametrize("op", [*PHOTO_OPS[1:], *PAPER_OPS[1:], tone.exposure], ids=lambda op: op.__name__)
@given(pair=st.tuples(amounts, amounts))
def test_more_is_brighter(op: Op, pair: tuple[float, float]) -> None:
    less, more = sorted(pair)
    assert float((op(RAMP, more) - op(RAMP, less)).min()) >= -1e-6


@pytest.mark.parametrize("op", [*PHOTO_OPS, *PAPER_OPS, tone.exposure], ids=lambda op: op.__name__)
def test_zero_changes_nothing(op: Op) -> None:
    torch.testing.assert_close(op(RAMP, 0.0), RAMP, atol=1e-6, rtol=0)


@pytest.mark.parametrize("op", [*PHOTO_OPS, *PAPER_OPS, tone.exposure], ids=lambda op: op.__name__)
def test_one_amount_per_image(op: Op) -> None:
    images = torch.rand(3, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    each = torch.tensor([-0.7, 0.1, 0.9])
    out = op(images, each)
    assert out.shape == images.shape
    for i in range(3):
        torch.testing.assert_close(out[i : i + 1], op(images[i : i + 1], float(each[i])))
    with pytest.raises(ValueError, match="one number per image"):
        op(images, torch.zeros(2))
    with pytest.raises(ValueError, match="one number per image"):
        op(images, torch.zeros(3, 1))
