"""RawTherapee's sliders: what a person moves, and the .pp3 keys behind it.

Curated ones carry the names that ``chain:photo`` has where the meaning is the same. Ranges are what a person uses and
what RawTherapee's own panels take; measured on 5.9: every default is the identity, and a small step from it is a small
change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pixward.editors.pp3 import Sections, Value, numbers
from pixward.errors import PixwardError
from pixward.params import ParamSpace, ParamSpec

__all__ = ["DAYLIGHT", "EXTRA", "Base", "Key", "sections", "space", "values"]


@dataclass(frozen=True)
class Base:
    """What the sliders of a picture are relative to.

    Attributes:
        temperature: of its white balance as shot, in kelvin, as RawTherapee computes it.
        green: likewise its green, RawTherapee's tint.
        longest: its longest side in pixels.
        scale: its pixels per pixel of the photo it stands for.
    """

    temperature: float
    green: float
    longest: int
    scale: float = 1.0


DAYLIGHT = (6473.339081, 0.967180)
"""Temperature and green that RawTherapee 5.9 takes a picture for, whatever is in it: measured, Custom with these two
(6473 K, since it keeps whole kelvins) is the identity, and 6504 K with green 1 is not."""


@dataclass(frozen=True)
class Key:
    """A key of a .pp3 that is a slider of its own.

    Attributes:
        section: its section.
        key: its name there.
        low: smallest value of the slider.
        high: largest.
        help: one sentence for a person.
        step: value of the key per unit of the slider; a key with a negative step runs the other way round.
        whole: RawTherapee keeps whole numbers only.
        switch: the section has to be switched on.
        unit: of the slider.
    """

    section: str
    key: str
    low: float
    high: float
    help: str
    step: float = 1.0
    whole: bool = True
    switch: bool = True
    unit: str = ""

    def spec(self, name: str) -> ParamSpec:
        """The slider."""
        return ParamSpec(name, self.low, self.high, 0, self.unit, self.help)


_TONE: dict[str, Key] = {
    "exposure": Key(
        "Exposure", "Compensation", -3, 3, "Brightness of the whole picture, in stops of linear light.",
        whole=False, switch=False, unit="EV",
    ),
    "contrast": Key(
        "Exposure", "Contrast", -100, 100, "Flatter to steeper around the mean.", switch=False, unit="%"
    ),
    "blacks": Key(
        "Exposure", "Black", -100, 100, "Lower to higher black end.", step=-40, switch=False, unit="%"
    ),
    "highlight_compression": Key(
        "Exposure", "HighlightCompr", 0, 250, "Rolls off bright tones instead of clipping them.", switch=False
    ),
    "saturation": Key(
        "Exposure", "Saturation", -100, 100, "Colourfulness of everything; -100 is grey.", switch=False, unit="%"
    ),
    "clarity": Key(
        "Local Contrast", "Amount", 0, 100, "Local contrast, over 1.6 % of the longest side.",
        step=0.01, whole=False, unit="%",
    ),
}  # fmt: skip
_CURVE = {"shadows": 0.2, "midtones": 0.5, "highlights": 0.8}
"""Sliders that move a point of the tone curve, and where on its encoded axis that point lies."""
_CURVE_STEP = 0.0014
"""How far one % moves a point: at 100 % the points still ascend, whatever the others do, and so does the curve."""
_CAGE = 3.0
"""A control cage: the smooth curve of RawTherapee's that never overshoots. Its parametric one would do as well, but
costs 15 ms a render, twice as much as all the rest at 64 pixels."""
_MIRED, _GREEN = 0.6, 0.002
"""Per % of temperature and of tint: mireds, and the logarithm of RawTherapee's green."""
_KELVIN = (1500, 60_000)
_ORDER = (
    "exposure", "temperature", "tint", "contrast", "highlights", "midtones", "shadows", "blacks",
    "highlight_compression", "vibrance", "saturation", "clarity",
)  # fmt: skip
_OTHER = {
    "temperature": ParamSpec("temperature", -100, 100, 0, "%", "Cooler (blue) to warmer (yellow) than as shot."),
    "tint": ParamSpec("tint", -100, 100, 0, "%", "Greener to more magenta than as shot."),
    "vibrance": ParamSpec("vibrance", -100, 100, 0, "%", "Colourfulness of what is pale."),
} | {
    name: ParamSpec(name, -100, 100, 0, "%", f"Darker to brighter {part}; the ends stay.")
    for name, part in (("shadows", "dark tones"), ("midtones", "middle tones"), ("highlights", "bright tones"))
}

CLARITY_RADIUS = 1 / 64
"""Sigma of clarity's blur over the longest side: whole pixels, as RawTherapee keeps them, at 64 and at 256."""
_SHADOWS_RADIUS = 0.01
_SHARPENING_RADIUS = 0.75

EXTRA: dict[str, Key] = {
    f"{key.section}.{key.key}": key
    for key in (
        Key("Exposure", "Brightness", -100, 100, "Brightness of the middle tones.", switch=False),
        Key("Luminance Curve", "Brightness", -100, 100, "Lightness in Lab; colours stay."),
        Key("Luminance Curve", "Contrast", -100, 100, "Contrast of the lightness in Lab."),
        Key("Luminance Curve", "Chromaticity", -100, 100, "Chroma in Lab; -100 is grey."),
        Key("Shadows & Highlights", "Highlights", 0, 100, "Darkens bright areas, over 1 % of the longest side."),
        Key("Shadows & Highlights", "Shadows", 0, 100, "Brightens dark areas, over 1 % of the longest side."),
        Key("Dehaze", "Strength", 0, 100, "Takes haze away; how much differs with the size of the picture."),
        Key("SoftLight", "Strength", 0, 100, "The picture over itself in soft light: contrast and colour."),
        Key("PCVignette", "Strength", -6, 6, "Brighter to darker corners.", whole=False, unit="EV"),
        Key("Vignetting Correction", "Amount", -100, 100, "Darker to brighter corners.", switch=False),
        Key("Sharpening", "Amount", 0, 1000, "Unsharp mask, over 0.75 pixels of the photo."),
        Key("SharpenMicro", "Strength", 0, 100, "Microcontrast, over single pixels."),
    )
}  # fmt: skip
"""Further sliders on request, by ``Section.Key``; they stand at 0, where they do nothing."""


def space(extra: Sequence[str]) -> ParamSpace:
    """The curated sliders and those of ``extra``.

    Raises:
        PixwardError: one of ``extra`` is unknown or given twice; lists what there is.
    """
    for name in extra:
        if name not in EXTRA:
            raise PixwardError(f"RawTherapee has no slider {name!r} here; further sliders are: {', '.join(EXTRA)}")
    if len(set(extra)) != len(extra):
        raise PixwardError("a further slider of RawTherapee is given twice")
    specs = [_OTHER[name] if name in _OTHER else _TONE[name].spec(name) for name in _ORDER]
    return ParamSpace([*specs, *(EXTRA[name].spec(name) for name in extra)])


def sections(setting: Mapping[str, float], base: Base) -> dict[str, dict[str, Value]]:
    """The sections of a .pp3 that do what ``setting`` says; what stands at its default is left out."""
    found: dict[str, dict[str, Value]] = {}
    for name, key in _keys().items():
        value = setting.get(name, 0.0) * key.step
        number = round(value) if key.whole else round(value, 6)
        if number:
            keys = found.setdefault(key.section, {"Enabled": True} if key.switch else {})
            keys[key.key] = number
    if any(setting.get(name) for name in _CURVE):
        points = [(x, round(x + _CURVE_STEP * setting.get(name, 0.0), 8)) for name, x in _CURVE.items()]
        curve = (_CAGE, 0.0, 0.0, *(number for point in points for number in point), 1.0, 1.0)
        found.setdefault("Exposure", {}).update(CurveMode="Standard", Curve=curve)
    if vibrance := round(setting.get("vibrance", 0.0)):
        found["Vibrance"] = {"Enabled": True, "Pastels": vibrance, "Saturated": vibrance}
    found |= _white_balance(setting.get("temperature", 0.0), setting.get("tint", 0.0), base)
    _radii(found, base)
    return found


def values(found: Sections, base: Base | None) -> dict[str, float]:
    """The curated and further sliders that a .pp3 sets, as near as they can be told; others are left out.

    Args:
        found: a parsed .pp3, our own or RawTherapee's.
        base: of the picture it belongs to; None if unknown, and then the white balance is left out.
    """
    setting: dict[str, float] = {}
    for name, key in _keys().items():
        number = _number(found, key.section, key.key)
        if number and not (key.switch and _off(found, key.section)):
            setting[name] = min(max(number / key.step, key.low), key.high)
    curve = numbers(found.get("Exposure", {}).get("Curve", ""))
    if curve[:3] == (_CAGE, 0, 0) and curve[3:-2:2] == tuple(_CURVE.values()):
        moved = {name: (y - x) / _CURVE_STEP for (name, x), y in zip(_CURVE.items(), curve[4:-2:2], strict=True)}
        setting |= {name: round(value, 4) for name, value in moved.items() if value}
    if not _off(found, "Vibrance"):
        pastels = _number(found, "Vibrance", "Pastels")
        saturated = _number(found, "Vibrance", "Saturated")
        together = pastels if found["Vibrance"].get("PastSatTog", "true") == "true" else (pastels + saturated) / 2
        setting |= {"vibrance": together} if together else {}
    temperature, green = (_number(found, "White Balance", key) for key in ("Temperature", "Green"))
    custom = not _off(found, "White Balance") and found["White Balance"].get("Setting") == "Custom"
    if base is not None and custom and temperature > 0 and green > 0:
        setting["temperature"] = (1e6 / base.temperature - 1e6 / temperature) / _MIRED
        setting["tint"] = math.log(base.green / green) / _GREEN
    return {name: min(max(value, -100.0), 100.0) if name in _OTHER else value for name, value in setting.items()}


def _keys() -> dict[str, Key]:
    return _TONE | EXTRA


def _white_balance(temperature: float, tint: float, base: Base) -> dict[str, dict[str, Value]]:
    """Nothing where both stand at 0: the camera's own is then exact."""
    if not temperature and not tint:
        return {}
    mired = max(1e6 / base.temperature - _MIRED * temperature, 1e6 / _KELVIN[1])
    kelvin = min(max(round(1e6 / mired), _KELVIN[0]), _KELVIN[1])
    green = round(base.green * math.exp(-_GREEN * tint), 6)
    return {"White Balance": {"Enabled": True, "Setting": "Custom", "Temperature": kelvin, "Green": green}}


def _radii(found: dict[str, dict[str, Value]], base: Base) -> None:
    """Radii, for the sections that are on: relative to the picture, or in pixels of the photo."""
    if "Local Contrast" in found:
        found["Local Contrast"]["Radius"] = max(1, round(CLARITY_RADIUS * base.longest))
    if "Shadows & Highlights" in found:
        found["Shadows & Highlights"]["Radius"] = max(1, round(_SHADOWS_RADIUS * base.longest))
    if "Sharpening" in found:
        found["Sharpening"] |= {"Method": "usm", "Radius": round(_SHARPENING_RADIUS * base.scale, 4)}


def _off(found: Sections, section: str) -> bool:
    return found.get(section, {}).get("Enabled", "false").lower() != "true"


def _number(found: Sections, section: str, key: str) -> float:
    try:
        number = float(found.get(section, {}).get(key, "0"))
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0
