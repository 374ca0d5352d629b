"""darktable's sliders as pixward moves them, and the fields of darktable's modules behind each.

The ranges are what a person uses, not what the modules would take. All modules work on scene-referred, linear light;
none of them has a radius in pixels (the tone equaliser's is a share of the picture, the local contrast's is a
Laplacian pyramid), so that a setting found on a preview holds at full size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.optimize import least_squares

from pixward.errors import PixwardError
from pixward.params import ParamSpec

Values = dict[str, dict[str, float | str]]
"""``{module: {field: value}}``, enums by name: what a history says of the modules that are on."""


@dataclass(frozen=True)
class Slider:
    """One slider that is linear in some fields of one module: ``field = fields[field] * value`` (plus the base).

    Attributes:
        spec: name, range, unit, help.
        module: the module it moves.
        fields: weight of the slider in each field.
    """

    spec: ParamSpec
    module: str
    fields: Mapping[str, float] = field(default_factory=dict)


_PERCENT = 0.01
# The tone equaliser's bands, one stop apart; their names in the source are not those of its interface.
_BRIGHT = {"speculars": 1.0, "whites": 0.8, "highlights": 0.3}
_DARK = {
    "noise": 0.5,
    "ultra_deep_blacks": 1.0,
    "deep_blacks": 1.0,
    "blacks": 1.0,
    "shadows": 0.8,
    "midtones": 0.4,
}


def _colour(name: str, field_name: str, most: float, text: str) -> Slider:
    spec = ParamSpec(name, -most, most, 0, "%", text)
    return Slider(spec, "colorbalancergb", {field_name: _PERCENT})


EXPOSURE = "exposure"
TEMPERATURE, TINT = "temperature", "tint"
PICTURE = (
    Slider(ParamSpec(EXPOSURE, -3, 3, 0, "EV", "Brightness in stops of linear light."), "exposure", {"exposure": 1.0}),
    Slider(ParamSpec("black", -5, 5, 0, "%", "Linear light that is taken off."), "exposure", {"black": _PERCENT}),
    Slider(
        ParamSpec(TEMPERATURE, 3000, 9000, 5000, "K", "Colour temperature of the light: higher is warmer.", "log"),
        "channelmixerrgb",
    ),
    Slider(ParamSpec(TINT, -100, 100, 0, "%", "Greener to more magenta."), "channelmixerrgb"),
    _colour("contrast", "contrast", 60, "Contrast of linear light around middle grey."),
    Slider(ParamSpec("shadows", -1.5, 1.5, 0, "EV", "Darker to brighter dark tones."), "toneequal", _DARK),
    Slider(ParamSpec("highlights", -1.5, 1.5, 0, "EV", "Darker to brighter bright tones."), "toneequal", _BRIGHT),
    _colour("chroma", "chroma_global", 60, "Distance from grey, brightness kept."),
    _colour("saturation", "saturation_global", 60, "Distance from grey, darker as it grows."),
    _colour("vibrance", "vibrance", 60, "Colourfulness of what is pale."),
    Slider(ParamSpec("clarity", -100, 150, 0, "%", "Local contrast."), "bilat", {"detail": _PERCENT}),
)
_TONE = (
    Slider(
        ParamSpec("tone_contrast", 0.7, 3.5, 1.5, "", "Steepness of the tone curve at middle grey.", "log"),
        "sigmoid",
        {"middle_grey_contrast": 1.0},
    ),
    Slider(
        ParamSpec("tone_skew", -1, 1, 0, "", "Tone curve leaning to shadows or highlights."),
        "sigmoid",
        {"contrast_skewness": 1.0},
    ),
)
_RAW_EXPOSURE = Slider(
    ParamSpec(EXPOSURE, -2.3, 3.7, 0.7, "EV", "Brightness in stops of linear light."), "exposure", {"exposure": 1.0}
)
RAW = (_RAW_EXPOSURE, *PICTURE[1:], *_TONE)
"""A raw file's: from darktable's own start for raw files (+0.7 EV and a tone curve). The first ones reach as far from
their defaults as a picture's do, so that networks that know those know these."""
RAW_ALWAYS = ("exposure", "sigmoid")
"""Modules that a raw file's history always has."""

BASE: Values = {
    "channelmixerrgb": {
        "red[0]": 1.0,
        "green[1]": 1.0,
        "blue[2]": 1.0,
        "illuminant": "DT_ILLUMINANT_CUSTOM",
        # Neither a gamut compression nor a clip: the module then does nothing but adapt the white.
        "gamut": 0.0,
        "clip": 0.0,
    },
    # As the local Laplacian, shadows and highlights left as they are.
    "bilat": {"mode": "s_mode_local_laplacian", "sigma_r": 1.0, "sigma_s": 1.0, "detail": 0.0},
}
"""Fields of a module that is on, where its defaults would do more than its sliders say."""
_D50 = (0.34567, 0.35850)
_MIDDLE = 5000.0
_TINT_REACH = 0.03
"""Distance from the Planckian locus, in CIE 1960 uv, at a tint of 100 %."""


def to_modules(setting: Mapping[str, float], sliders: tuple[Slider, ...], always: tuple[str, ...]) -> Values:
    """The modules that must be on for ``setting`` ``{slider: value}``, and their fields.

    A module all of whose sliders stand at their defaults is left out, unless it is in ``always``.
    """
    on: Values = {module: {} for module in always}
    for slider in sliders:
        if setting[slider.spec.name] != slider.spec.default:
            on.setdefault(slider.module, {})
    for module, values in on.items():
        moved: dict[str, float] = {}
        for slider in sliders:
            if slider.module == module:
                for name, weight in slider.fields.items():
                    moved[name] = moved.get(name, 0.0) + weight * setting[slider.spec.name]
        values.update({**BASE.get(module, {}), **moved})
    if "channelmixerrgb" in on and TINT in setting:
        x, y = white_point(setting[TEMPERATURE], setting[TINT])
        on["channelmixerrgb"].update(x=x, y=y, temperature=setting[TEMPERATURE])
    return on


def from_modules(on: Mapping[str, Mapping[str, float]], sliders: tuple[Slider, ...]) -> dict[str, float]:
    """The setting nearest to what the modules say, least squares where several fields share a slider.

    Raises:
        PixwardError: a value that is no number, or a white point that is no colour.
    """
    setting = {slider.spec.name: slider.spec.default for slider in sliders}
    for module in {slider.module for slider in sliders if slider.fields}:
        if module not in on:
            continue
        shared = [slider for slider in sliders if slider.module == module and slider.fields]
        names = sorted({name for slider in shared for name in slider.fields})
        matrix = np.array([[slider.fields.get(name, 0.0) for slider in shared] for name in names])
        values = np.array([on[module][name] for name in names])
        if not np.isfinite(values).all():
            raise PixwardError(f"the sidecar's module {module} holds a value that is no number")
        found = np.linalg.lstsq(matrix, values, rcond=None)[0]
        setting.update((slider.spec.name, float(value)) for slider, value in zip(shared, found, strict=True))
    if "channelmixerrgb" in on and TINT in setting:
        setting[TEMPERATURE], setting[TINT] = _temperature(on["channelmixerrgb"]["x"], on["channelmixerrgb"]["y"])
    for slider in sliders:
        value = setting[slider.spec.name]
        setting[slider.spec.name] = min(max(value, slider.spec.low), slider.spec.high)
    return setting


@lru_cache(maxsize=4096)
def white_point(kelvin: float, tint: float) -> tuple[float, float]:
    """CIE xy of the light that darktable is told of: D50, which changes nothing, moved along the Planckian locus.

    The locus: Kim et al. 2002, US patent 7024034, valid from 1667 to 25000 K. The tint is across it, in CIE 1960 uv.
    """
    here, middle = _locus(kelvin), _locus(_MIDDLE)
    along = _locus(kelvin * 1.01) - _locus(kelvin / 1.01)
    across = np.array([-along[1], along[0]]) / math.hypot(*along)
    # Light that is green is answered by magenta: a positive tint declares the light greener.
    u, v = _uv(*_D50) + here - middle + across * (_TINT_REACH * tint / 100 * (1 if across[1] > 0 else -1))
    return 3 * u / (2 * u - 8 * v + 4), 2 * v / (2 * u - 8 * v + 4)


def _temperature(x: float, y: float) -> tuple[float, float]:
    if not (0 < x < 1 and 0 < y < 1):
        raise PixwardError(f"the sidecar's module channelmixerrgb holds the white point {x:g}, {y:g}: no colour")

    def miss(guess: np.ndarray) -> np.ndarray:
        return 1e3 * (_uv(*white_point(float(np.exp(guess[0])), float(guess[1]))) - _uv(x, y))

    found = least_squares(
        miss,
        (math.log(_MIDDLE), 0.0),
        bounds=((math.log(1700), -300), (math.log(24000), 300)),
        x_scale=(0.1, 10.0),
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
    )
    return float(np.exp(found.x[0])), float(found.x[1])


def _locus(kelvin: float) -> np.ndarray:
    t = 1e3 / kelvin
    if kelvin <= 4000:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    if kelvin <= 2222:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif kelvin <= 4000:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    return _uv(x, y)


def _uv(x: float, y: float) -> np.ndarray:
    return np.array([4 * x, 6 * y]) / (-2 * x + 12 * y + 3)
