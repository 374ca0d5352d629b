"""darktable's sliders as fields of its modules, and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixward.editors.darktable_sliders import PICTURE, RAW, RAW_ALWAYS, from_modules, to_modules, white_point
from pixward.errors import PixwardError

DEFAULTS = {slider.spec.name: slider.spec.default for slider in PICTURE}
RAW_DEFAULTS = {slider.spec.name: slider.spec.default for slider in RAW}


def settings_of(sliders):
    return st.fixed_dictionaries({s.spec.name: st.floats(s.spec.low, s.spec.high) for s in sliders})


def uv(x, y):
    """CIE 1960."""
    return np.array([4 * x, 6 * y]) / (-2 * x + 12 * y + 3)


# --- white point --------------------------------------------------------------------------------------------------


def test_the_default_is_d50():
    assert white_point(5000.0, 0.0) == pytest.approx((0.34567, 0.35850), abs=1e-14)


def test_white_points_follow_the_locus():
    """From CIE's own table of the Planckian locus (x, y), by the distance from 5000 K."""
    planck = {3000: (0.4369, 0.4041), 4000: (0.3805, 0.3767), 5000: (0.3451, 0.3516), 6500: (0.3135, 0.3236)}
    start = uv(*planck[5000])
    for kelvin, xy in planck.items():
        moved = uv(*white_point(float(kelvin), 0.0)) - uv(0.34567, 0.35850)
        assert moved == pytest.approx(uv(*xy) - start, abs=3e-4)


def test_white_points_are_monotone():
    xs = [white_point(kelvin, 0.0)[0] for kelvin in np.geomspace(3000, 9000, 40).tolist()]
    assert (np.diff(xs) < 0).all()  # from red light to blue
    for kelvin in (3000.0, 5000.0, 9000.0):
        ys = [white_point(kelvin, tint)[1] for tint in np.linspace(-100, 100, 21).tolist()]
        assert (np.diff(ys) > 0).all()  # greener
        reach = uv(*white_point(kelvin, 100.0)) - uv(*white_point(kelvin, 0.0))
        assert math.hypot(*reach) == pytest.approx(0.03, abs=1e-6)


# --- modules ------------------------------------------------------------------------------------------------------


def test_nothing_is_on_at_the_defaults():
    assert to_modules(DEFAULTS, PICTURE, ()) == {}
    assert to_modules(RAW_DEFAULTS, RAW, RAW_ALWAYS) == {
        "exposure": {"exposure": 0.7, "black": 0.0},
        "sigmoid": {"middle_grey_contrast": 1.5, "contrast_skewness": 0.0},
    }
    assert from_modules({}, PICTURE) == DEFAULTS


def test_fields_of_a_setting():
    on = to_modules({**DEFAULTS, "exposure": 1.5, "vibrance": -20.0, "shadows": 1.0, "clarity": 50.0}, PICTURE, ())
    assert set(on) == {"exposure", "colorbalancergb", "toneequal", "bilat"}
    assert on["exposure"] == {"exposure": 1.5, "black": 0.0}
    assert on["colorbalancergb"]["vibrance"] == pytest.approx(-0.2)
    assert on["toneequal"]["blacks"] == 1.0
    assert on["toneequal"]["whites"] == 0.0
    assert (on["bilat"]["mode"], on["bilat"]["detail"]) == ("s_mode_local_laplacian", 0.5)


def test_temperature_and_tint_share_the_white_point():
    mixer = to_modules({**DEFAULTS, "tint": 30.0}, PICTURE, ())["channelmixerrgb"]
    assert (mixer["x"], mixer["y"]) == white_point(5000.0, 30.0)
    assert (mixer["red[0]"], mixer["green[1]"], mixer["blue[2]"], mixer["gamut"]) == (1, 1, 1, 0)


@settings(max_examples=40)
@given(settings_of(RAW))
def test_round_trip(setting):
    read = from_modules(to_modules(setting, RAW, RAW_ALWAYS), RAW)
    for name, value in setting.items():
        if name == "temperature":
            assert read[name] == pytest.approx(value, rel=1e-3)
        else:
            assert read[name] == pytest.approx(value, abs=1e-3 * max(1, abs(value))), name


def test_shared_fields_are_the_nearest_setting():
    """Bands of the tone equaliser that a person moved singly: the least squares over all nine."""
    weights = {"noise": 0.5, "ultra_deep_blacks": 1, "deep_blacks": 1, "blacks": 1, "shadows": 0.8, "midtones": 0.4}
    bands = dict.fromkeys([*weights, "highlights", "whites", "speculars"], 0.0)
    read = from_modules({"toneequal": {**bands, "blacks": 1.0}}, PICTURE)
    assert read["shadows"] == pytest.approx(1 / sum(w**2 for w in weights.values()))
    assert read["highlights"] == pytest.approx(0)


def test_values_out_of_range_are_clipped():
    assert from_modules({"exposure": {"exposure": -9.0, "black": 0.5}}, PICTURE) == {
        **DEFAULTS, "exposure": -3, "black": 5,
    }  # fmt: skip


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_numbers(bad):
    with pytest.raises(PixwardError, match="module exposure holds a value that is no number"):
        from_modules({"exposure": {"exposure": bad, "black": 0.0}}, PICTURE)


@pytest.mark.parametrize("xy", [(0.0, 0.0), (1.5, 0.0), (math.nan, 0.3), (0.3, -1.0), (3e38, 3e38)])
def test_no_colours(xy):
    with pytest.raises(PixwardError, match="holds the white point .*: no colour"):
        from_modules({"channelmixerrgb": {"x": xy[0], "y": xy[1]}}, PICTURE)
