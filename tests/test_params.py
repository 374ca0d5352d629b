"""Sliders: the two scales, setting files, and what happens to wrong values."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixward.editors.chain import PAPER_SPACE, PHOTO_SPACE
from pixward.params import ParamSpace, ParamSpec

SPACE = ParamSpace(
    [
        ParamSpec("exposure", -2, 3, 0, "EV", "Brightness."),
        ParamSpec("gain", 0.25, 4, 1, "x", "A factor.", "log"),
        ParamSpec("fade", 10, 20, 10, "%", "Default at an end."),
    ]
)
unit = st.floats(-1, 1, width=32)


def test_linear_and_log_scales_by_hand() -> None:
    action = torch.tensor([[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [1.0, 1.0, 1.0]])
    # The middle of a log slider is the geometric mean, half way from there to the end its square root: 1, then 4^.5.
    expected = torch.tensor([[-2.0, 0.25, 10.0], [0.5, 1.0, 15.0], [1.75, 2.0, 17.5], [3.0, 4.0, 20.0]])
    torch.testing.assert_close(SPACE.denormalize(action), expected)
    torch.testing.assert_close(SPACE.normalize(expected), action, atol=1e-6, rtol=0)


def test_defaults() -> None:
    torch.testing.assert_close(SPACE.defaults(2), torch.tensor([[0.0, 1.0, 10.0]] * 2))
    torch.testing.assert_close(SPACE.default_action(), torch.tensor([[-0.2, 0.0, -1.0]]))
    SPACE.defaults(2)[0, 0] = 9  # a copy: nobody's default may change
    assert SPACE.defaults()[0, 0] == 0


@given(st.tuples(unit, unit, unit))
def test_round_trip(values: tuple[float, float, float]) -> None:
    action = torch.tensor([values])
    there = SPACE.denormalize(action)
    for spec, value in zip(SPACE, there[0].tolist(), strict=True):
        assert spec.low <= value <= spec.high
    torch.testing.assert_close(SPACE.normalize(there), action, atol=2e-6, rtol=0)


@given(st.tuples(unit, unit, unit))
def test_setting_files_hold_every_setting(values: tuple[float, float, float]) -> None:
    row = SPACE.denormalize(torch.tensor([values]))[0]
    torch.testing.assert_close(SPACE.from_dict(SPACE.to_dict(row)), row, atol=1e-6, rtol=1e-6)


THIRDS = ParamSpace(
    [ParamSpec("thirds", 1 / 3, 2 / 3, 0.5, "", ""), ParamSpec("log", 1 / 3, 2 / 3, 0.5, "", "", "log")]
)


@pytest.mark.parametrize("space", [PAPER_SPACE, PHOTO_SPACE, THIRDS], ids=["paper", "photo", "thirds"])
@pytest.mark.parametrize("end", [-1.0, 1.0])
def test_ends_survive_a_setting_file(space: ParamSpace, end: float) -> None:
    # A third rounded to six digits lies outside its slider; the file it stands in must still load.
    row = space.denormalize(torch.full((1, len(space)), end))[0]
    loaded = space.from_dict(space.to_dict(row))
    torch.testing.assert_close(loaded, row, atol=1e-6, rtol=0)
    assert float(space.normalize(loaded).abs().max()) <= 1 + 1e-5


@given(st.floats(-50, 50, width=32))
def test_actions_outside_are_clamped(value: float) -> None:
    inside = SPACE.denormalize(torch.full((1, 3), max(-1.0, min(1.0, value))))
    torch.testing.assert_close(SPACE.denormalize(torch.full((1, 3), value)), inside)


def test_leading_dimensions_and_dtype_are_kept() -> None:
    action = torch.zeros(4, 5, 3, dtype=torch.float64)
    assert SPACE.denormalize(action).shape == (4, 5, 3)
    assert SPACE.denormalize(action).dtype == torch.float64


def test_gradients_pass_through() -> None:
    action = torch.zeros(1, 3, requires_grad=True)
    SPACE.denormalize(action).sum().backward()
    # d/da of -2..3 is 2.5; of exp(a ln 4) at 0 ln 4; of 10..20 it is 5.
    torch.testing.assert_close(action.grad, torch.tensor([[2.5, math.log(4), 5.0]]))


def test_missing_sliders_take_their_default() -> None:
    torch.testing.assert_close(SPACE.from_dict({"gain": 2}), torch.tensor([0.0, 2.0, 10.0]))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"exposre": 0.1}, "unknown slider 'exposre'; this editor has: exposure, gain, fade"),
        ({"exposure": 3.5}, "slider exposure: 3.5 is outside -2 to 3 EV"),
        ({"exposure": -2.001}, "is outside -2 to 3 EV"),
        ({"exposure": math.nan}, "nan is outside"),
        ({"exposure": math.inf}, "inf is outside"),
        ({"exposure": "bright"}, "slider exposure: 'bright' is not a number"),
        ({"exposure": None}, "slider exposure: None is not a number"),
        ({"exposure": True}, "slider exposure: True is not a number"),
        ({"exposure": [1]}, "is not a number"),
    ],
)
def test_wrong_settings_say_what_is_wrong(setting: dict, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        SPACE.from_dict(setting)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_may_come_as_text() -> None:
    assert SPACE.check("exposure", "1.5") == 1.5


@pytest.mark.parametrize(
    "numbers", [(0, 1, 2), (0, 1, -1), (1, 0, 0.5), (1, 1, 1), (0, 1, math.nan), (math.nan, 1, 0), (0, math.inf, 0)]
)
def test_a_slider_needs_a_proper_range(numbers: tuple[float, float, float]) -> None:
    low, high, default = numbers
    with pytest.raises(ValueError, match="slider x"):
        ParamSpec("x", low, high, default, "", "")


def test_a_log_slider_needs_positive_ends() -> None:
    with pytest.raises(ValueError, match="log scale needs low > 0"):
        ParamSpec("x", 0, 1, 1, "", "", "log")


def test_names_are_unique_and_ordered() -> None:
    spec = ParamSpec("x", 0, 1, 0, "", "")
    with pytest.raises(ValueError, match="unique"):
        ParamSpace([spec, spec])
    assert len(SPACE) == 3
    assert [spec.name for spec in SPACE] == list(SPACE.names) == ["exposure", "gain", "fade"]
    assert SPACE.index("fade") == 2


def test_describe_is_what_the_command_line_prints() -> None:
    assert SPACE.describe()[1] == {
        "name": "gain",
        "low": 0.25,
        "high": 4,
        "default": 1,
        "unit": "x",
        "help": "A factor.",
    }


@pytest.mark.parametrize("space", [PAPER_SPACE, PHOTO_SPACE], ids=["paper", "photo"])
def test_built_in_sliders_are_told_apart_and_explained(space: ParamSpace) -> None:
    for spec in space:
        assert spec.name.isidentifier() and spec.name == spec.name.lower()
        assert spec.help.endswith(".")


def test_the_papers_ranges() -> None:
    # Table in the paper's released filters: +-2 EV, gains e^+-.5, four sliders of +-1, texture 0..2.
    gain = math.exp(0.5)
    low = [-2, 1 / gain, 1 / gain, 1 / gain, -1, -1, -1, -1, 0]
    high = [2, gain, gain, gain, 1, 1, 1, 1, 2]
    assert [spec.low for spec in PAPER_SPACE] == pytest.approx(low)
    assert [spec.high for spec in PAPER_SPACE] == pytest.approx(high)
    torch.testing.assert_close(PAPER_SPACE.default_action(), torch.zeros(1, 9), atol=1e-6, rtol=0)


def test_gradients_are_finite_on_wide_linear_sliders() -> None:
    space = ParamSpace([ParamSpec("wide", -100, 100, 0, "%", "."), ParamSpec("gain", 0.5, 2, 1, "x", ".", "log")])
    action = torch.tensor([[1.0, 0.5]], requires_grad=True)
    space.denormalize(action).sum().backward()
    assert action.grad is not None
    assert action.grad.isfinite().all()
    values = torch.tensor([[-100.0, 1.0]], requires_grad=True)
    space.normalize(values).sum().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()
