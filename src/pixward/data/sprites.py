"""What scenes are made of: silhouettes of shapes, letters, digits and emoji at any size, colour names, textures.

Shapes are drawn here, letters and digits come from the font inside Pillow, so neither needs a file. Emoji need the
font Noto Color Emoji (Debian: ``fonts-noto-color-emoji``) and bring their own colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pixward.errors import PixwardError

_MASTER = 128  # pixels of the drawing that every size is reduced from
_EMOJI_SIZE = 109  # the one size that the font's bitmaps have

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.13, 0.13),
    "orange": (0.95, 0.52, 0.10),
    "yellow": (0.93, 0.85, 0.15),
    "green": (0.18, 0.68, 0.22),
    "blue": (0.16, 0.38, 0.90),
    "purple": (0.52, 0.20, 0.80),
    "pink": (0.96, 0.48, 0.72),
}
"""Names that captions use, with their sRGB colours in [0, 1]."""

_TYPICAL = {
    "circle": ("red", "blue"),
    "hexagon": ("orange", "purple"),
    "ring": ("yellow", "blue"),
    "crescent": ("yellow", "purple"),
    "square": ("blue", "orange"),
    "triangle": ("green", "red"),
    "star": ("yellow", "pink"),
    "cross": ("red", "green"),
    "heart": ("pink", "red"),
}

EMOJI = {
    "dog": "🐶",
    "cat": "🐱",
    "fox": "🦊",
    "bear": "🐻",
    "frog": "🐸",
    "fish": "🐟",
    "apple": "🍎",
    "tomato": "🍅",
    "lemon": "🍋",
    "banana": "🍌",
    "car": "🚗",
    "bus": "🚌",
    "tree": "🌳",
    "flower": "🌻",
    "house": "🏠",
    "clock": "🕐",
}
"""Classes that are drawn with the emoji font."""

_PLURALS = {"cross": "crosses", "fox": "foxes", "fish": "fish", "tomato": "tomatoes", "bus": "buses"}


@dataclass(frozen=True, eq=False)
class Sprite:
    """One silhouette, cut to its bounds.

    Attributes:
        alpha: cover of each pixel, ``(h, w)`` float32 in [0, 1].
        mask: the pixels that belong to it: those covered by half or more, at least one.
        pixels: how many those are.
        colour: ``(h, w, 3)`` float32 in [0, 1] for an emoji, None for what can take any colour.
    """

    alpha: np.ndarray
    mask: np.ndarray
    pixels: int
    colour: np.ndarray | None


def check_class(name: str, font: Path | None) -> None:
    """See that a class can be drawn: a shape, one letter or digit, or, where ``font`` is given, an emoji.

    Raises:
        PixwardError: it cannot.
    """
    if name in _SHAPES or (len(name) == 1 and name.isascii() and name.isalnum()):
        return
    if name not in EMOJI:
        known = ", ".join([*_SHAPES, *EMOJI])
        raise PixwardError(f"no such class of object: {name!r}; choose one letter or digit, or one of {known}")
    if font is None or not font.is_file():
        place = "no emoji font is set" if font is None else f"there is no font at {font}"
        raise PixwardError(f"the class {name!r} is an emoji, and {place}; install fonts-noto-color-emoji and name it")


def typical_colours(name: str) -> tuple[str, str]:
    """The two colours that most objects of a class have, the more frequent first."""
    if name in _TYPICAL:
        return _TYPICAL[name]
    names, code = list(COLOURS), sum(map(ord, name))
    return names[code % len(names)], names[(code + 3) % len(names)]


def nouns(name: str) -> tuple[str, str]:
    """Singular and plural of a class, as captions say them: ``"star", "stars"``; ``"letter b", "letters b"``."""
    if len(name) == 1:
        kind = "digit" if name.isdigit() else "letter"
        return f"{kind} {name.lower()}", f"{kind}s {name.lower()}"
    return name, _PLURALS.get(name, name + "s")


@lru_cache(maxsize=1 << 15)
def sprite(name: str, size: int, aspect: float, angle: float, font: Path | None = None) -> Sprite:
    """A class drawn ``size`` pixels long on its longer side.

    Args:
        name: the class, ``"oval"``, which is there to distract, or any emoji itself.
        size: pixels, at least 4.
        aspect: width over height before it is turned, relative to the drawing's own.
        angle: degrees, counter-clockwise.
        font: the emoji font; only emoji need it.
    """
    cut = _turned(name, aspect, angle, font)
    scale = size / max(cut.size)
    shape = (max(2, round(cut.width * scale)), max(2, round(cut.height * scale)))
    pixels = np.asarray(cut.resize(shape, Image.Resampling.BOX), np.float32) / 255
    alpha, colour = (pixels, None) if pixels.ndim == 2 else (pixels[..., 3], pixels[..., :3])
    mask = alpha >= min(0.5, float(alpha.max()))  # thin ones, drawn small, may be half-covered nowhere
    return Sprite(np.ascontiguousarray(alpha), mask, int(mask.sum()), colour)


@lru_cache(maxsize=4096)
def _turned(name: str, aspect: float, angle: float, font: Path | None) -> Image.Image:
    """The drawing in its proportions and turned, cut to its bounds; every size is reduced from it."""
    drawing = _drawing(name, font)
    wide = drawing.resize((max(1, round(drawing.width * min(1, aspect))), drawing.height))
    narrow = wide.resize((wide.width, max(1, round(wide.height / max(1, aspect)))))
    turned = narrow.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    cover = turned.getchannel(turned.getbands()[-1])
    return turned.crop(cover.point([255 * (value > 127) for value in range(256)]).getbbox())


@lru_cache(maxsize=256)
def _drawing(name: str, font: Path | None) -> Image.Image:
    """The master: "L" for a silhouette, "RGBA" for an emoji, with nothing around it."""
    if name in EMOJI or not name.isascii():
        assert font is not None, "check_class comes first"
        letter = ImageFont.truetype(str(font), _EMOJI_SIZE)
        page = Image.new("RGBA", (2 * _EMOJI_SIZE, 2 * _EMOJI_SIZE))
        ImageDraw.Draw(page).text(
            (_EMOJI_SIZE // 4, _EMOJI_SIZE // 4), EMOJI.get(name, name), font=letter, embedded_color=True
        )
        return page.crop(page.getbbox())
    page = Image.new("L", (_MASTER, _MASTER))
    draw = ImageDraw.Draw(page)
    if len(name) == 1:
        # The bundled font is thin: a stroke makes its letters as bold as the shapes.
        bold = ImageFont.load_default(_MASTER * 3 // 4)
        draw.text((_MASTER // 2, _MASTER // 2), name, 255, bold, anchor="mm", stroke_width=_MASTER // 24)
    else:
        {**_SHAPES, "oval": _oval}[name](draw, _MASTER - 1)
    return page.crop(page.getbbox())


def _polygon(draw: ImageDraw.ImageDraw, side: int, points: list[tuple[float, float]]) -> None:
    """Fill a polygon whose corners lie in [-1, 1]."""
    draw.polygon([((x + 1) / 2 * side, (y + 1) / 2 * side) for x, y in points], 255)


def _spokes(radii: list[float]) -> list[tuple[float, float]]:
    """Corners at equal angles, the first at the top."""
    angles = [math.tau * i / len(radii) for i in range(len(radii))]
    return [(r * math.sin(a), -r * math.cos(a)) for r, a in zip(radii, angles, strict=True)]


def _circle(draw: ImageDraw.ImageDraw, side: int) -> None:
    draw.ellipse((0, 0, side, side), 255)


def _oval(draw: ImageDraw.ImageDraw, side: int) -> None:
    draw.ellipse((side * 0.25, 0, side * 0.75, side), 255)


def _ring(draw: ImageDraw.ImageDraw, side: int) -> None:
    draw.ellipse((0, 0, side, side), 255)
    draw.ellipse((side * 0.24, side * 0.24, side * 0.76, side * 0.76), 0)


def _crescent(draw: ImageDraw.ImageDraw, side: int) -> None:
    draw.ellipse((0, 0, side, side), 255)
    draw.ellipse((side * 0.36, side * 0.04, side * 1.28, side * 0.96), 0)


def _square(draw: ImageDraw.ImageDraw, side: int) -> None:
    draw.rectangle((0, 0, side, side), 255)


def _cross(draw: ImageDraw.ImageDraw, side: int) -> None:
    draw.rectangle((side * 0.33, 0, side * 0.67, side), 255)
    draw.rectangle((0, side * 0.33, side, side * 0.67), 255)


def _heart(draw: ImageDraw.ImageDraw, side: int) -> None:
    turns = [math.tau * i / 90 for i in range(90)]
    x = [math.sin(t) ** 3 for t in turns]
    y = [-(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 17 for t in turns]
    _polygon(draw, side, list(zip(x, y, strict=True)))


_SHAPES: dict[str, Callable[[ImageDraw.ImageDraw, int], None]] = {
    "circle": _circle,
    "hexagon": lambda draw, side: _polygon(draw, side, _spokes([1.0] * 6)),
    "ring": _ring,
    "crescent": _crescent,
    "square": _square,
    "triangle": lambda draw, side: _polygon(draw, side, [(0, -1), (1, 1), (-1, 1)]),
    "star": lambda draw, side: _polygon(draw, side, _spokes([1.0, 0.42] * 5)),
    "cross": _cross,
    "heart": _heart,
}


@lru_cache(maxsize=4)
def textures(side: int) -> np.ndarray:
    """Brightness patterns to cut an object's surface from, ``(6, side, side)`` float32 in [0.55, 1].

    Plain, two ramps, stripes, checks and dots, in this order.
    """
    y, x = np.mgrid[:side, :side].astype(np.float32)
    waves = [
        np.ones_like(x),
        (x / side * 3) % 1,
        (y / side * 3) % 1,
        (np.sin((x + y) * 1.1) > 0),
        ((x // 4 + y // 4) % 2),
        ((x % 6 - 3) ** 2 + (y % 6 - 3) ** 2 > 5),
    ]
    lowest = np.float32(0.55)
    return np.stack([lowest + (1 - lowest) * wave.astype(np.float32) for wave in waves])
