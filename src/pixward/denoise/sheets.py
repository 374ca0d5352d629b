"""Pictures of a run for people: a contact sheet, and the curve of what was tuned for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pixward.image import from_tensor

_GAP, _CAPTION, _WIDEST = 8, 22, 2048
_GROUND, _TEXT, _DIM, _LINE = (24, 24, 24), (232, 232, 232), (160, 160, 160), (62, 62, 62)
# Okabe and Ito's palette, told apart by colour-blind readers too.
_COLOURS = ((244, 180, 60), (86, 180, 233), (0, 158, 115), (204, 121, 167))
_CURVE = (860, 420)
_FRAME = (74, 46, 840, 372)
_ZOOM = 3  # drawn so many times as large and reduced: PIL itself does not smooth edges


def contact_sheet(pictures: Tensor, captions: Sequence[str] = (), columns: int = 0) -> Image.Image:
    """``pictures`` ``(B, 3, H, W)`` in [0, 1] side by side, with ``captions`` below them.

    Pixels of small pictures become squares: a picture is at least 256 wide where there are four or fewer, 128 up to
    sixteen, else 64. The sheet of large ones is at most 2048 wide. ``columns`` 0 makes it about as wide as high.
    """
    count, _, height, width = pictures.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    least = 256 if count <= 4 else 128 if count <= 16 else 64
    factor = float(max(1, math.ceil(least / width)))
    if columns * (width * factor + _GAP) > _WIDEST:
        room = (_WIDEST / columns - _GAP) / width
        factor = math.floor(room) if room > 1 else room
    size = max(1, round(width * factor)), max(1, round(height * factor))
    below = _CAPTION if captions else 0
    cell, rows = (size[0] + _GAP, size[1] + _GAP + below), math.ceil(count / columns)
    sheet = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP), _GROUND)
    draw = ImageDraw.Draw(sheet)
    way = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    for at, pixels in enumerate(from_tensor(picture[None]) for picture in pictures.detach().cpu().float()):
        left, top = _GAP + at % columns * cell[0], _GAP + at // columns * cell[1]
        sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, way), (left, top))
        if captions:
            draw.text((left, top + size[1] + 4), _fitted(draw, captions[at], size[0]), _TEXT, _font(13))
    return sheet


def curve(lines: Mapping[str, Sequence[tuple[float, float]]], title: str, across: str) -> Image.Image:
    """Points ``(x, y)`` of each of ``lines``, joined, over an axis that is called ``across``; at most four lines."""
    canvas = Image.new("RGB", (_CURVE[0] * _ZOOM, _CURVE[1] * _ZOOM), _GROUND)
    draw = ImageDraw.Draw(canvas)
    left, top, right, bottom = (edge * _ZOOM for edge in _FRAME)
    every = [point for points in lines.values() for point in points] or [(0.0, 0.0)]
    x_ticks, y_ticks = (_ticks([point[axis] for point in every]) for axis in (0, 1))

    def place(x: float, y: float) -> tuple[float, float]:
        over, up = ((value - ticks[0]) / (ticks[-1] - ticks[0]) for value, ticks in ((x, x_ticks), (y, y_ticks)))
        return left + over * (right - left), bottom - up * (bottom - top)

    for tick in y_ticks:
        y = place(x_ticks[0], tick)[1]
        draw.line((left, y, right, y), _LINE, _ZOOM)
        draw.text((left - 8 * _ZOOM, y), f"{tick:.6g}", _DIM, _font(13 * _ZOOM), anchor="rm")
    for tick in x_ticks:
        draw.text((place(tick, y_ticks[0])[0], bottom + 8 * _ZOOM), f"{tick:.6g}", _DIM, _font(13 * _ZOOM), anchor="ma")
    draw.text(((left + right) / 2, bottom + 28 * _ZOOM), across, _DIM, _font(13 * _ZOOM), anchor="ma")
    draw.text((left, 10 * _ZOOM), title, _TEXT, _font(17 * _ZOOM))
    begin = float(right)
    for (name, points), colour in reversed(list(zip(lines.items(), _COLOURS, strict=False))):
        places = [place(*point) for point in points]
        if len(places) > 1:
            draw.line(places, colour, 2 * _ZOOM, joint="curve")
        for x, y in places:
            draw.ellipse((x - 4 * _ZOOM, y - 4 * _ZOOM, x + 4 * _ZOOM, y + 4 * _ZOOM), colour)
        draw.text((begin, 14 * _ZOOM), name, colour, _font(14 * _ZOOM), anchor="ra")
        begin -= draw.textlength(name, _font(14 * _ZOOM)) + 18 * _ZOOM
    return canvas.resize(_CURVE, Image.Resampling.BOX)


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers that hold ``values`` between them, about five."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [at * step for at in range(first, last + 1)]


def _fitted(draw: ImageDraw.ImageDraw, text: str, room: float) -> str:
    """``text`` cut at its end if it is wider than ``room`` pixels."""
    text = "".join(c if c.isprintable() else " " for c in text)
    if draw.textlength(text, _font(13)) <= room:
        return text
    while text and draw.textlength(text + "...", _font(13)) > room:
        text = text[:-1]
    return text + "..."


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)
