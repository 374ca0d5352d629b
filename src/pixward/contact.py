"""Many photos on one sheet, for people to look at: before, after and goal of each, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw
from torch import Tensor

from pixward.image import quantize
from pixward.panels import CARD, DIM, GROUND, TEXT, fit, font, picture

_SIDE, _GAP, _MARGIN, _PAD = 224, 12, 28, 8
_HEADER, _CAPTION = 48, 28


@dataclass(frozen=True)
class Shot:
    """One photo of a sheet.

    Attributes:
        name: what it is called.
        words: what else is said of it, e.g. its PSNR before and after.
        pictures: before, after and goal, each ``(1, 3, h, w)`` in [0, 1] and of any size.
    """

    name: str
    words: str
    pictures: tuple[Tensor, Tensor, Tensor]


def contact_sheet(shots: Sequence[Shot], title: str, *, columns: int = 2) -> Image.Image:
    """Draw the sheet: ``columns`` photos in a row, each as three pictures.

    Raises:
        ValueError: no photo.
    """
    if not shots:
        raise ValueError("a contact sheet needs at least one photo")
    columns = min(columns, len(shots))
    drawn = [[picture(quantize(image)[0], _SIDE) for image in shot.pictures] for shot in shots]
    lines = [range(k, min(k + columns, len(shots))) for k in range(0, len(shots), columns)]
    heights = [max(tile.height for k in line for tile in drawn[k]) for line in lines]
    wide, beside = 3 * _SIDE + 4 * _PAD, 2 * _PAD + _CAPTION + _GAP
    size = (2 * _MARGIN + columns * (wide + _GAP) - _GAP, 2 * _MARGIN + _HEADER + sum(heights) + len(lines) * beside)
    canvas = Image.new("RGB", size, GROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN - 6), fit(draw, title, 20, size[0] - 2 * _MARGIN), TEXT, font(20))
    top = _MARGIN + _HEADER
    for line, height in zip(lines, heights, strict=True):
        for place, k in enumerate(line):
            _card(canvas, draw, (shots[k], drawn[k]), (_MARGIN + place * (wide + _GAP), top, wide, height))
        top += height + beside
    return canvas


def _card(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    shown: tuple[Shot, list[Image.Image]],
    at: tuple[int, int, int, int],
) -> None:
    """One photo: its three pictures in a box whose pictures are ``at[3]`` high, and what is said of it."""
    (shot, tiles), (left, top, wide, height) = shown, at
    draw.rectangle((left, top, left + wide - 1, top + height + 2 * _PAD + _CAPTION - 1), CARD)
    for place, tile in enumerate(tiles):
        x = left + _PAD + place * (_SIDE + _PAD) + (_SIDE - tile.width) // 2
        canvas.paste(tile, (x, top + _PAD + (height - tile.height) // 2))
    line = top + 2 * _PAD + height
    room = draw.textlength(shot.words, font(14))
    draw.text((left + wide - _PAD, line), shot.words, DIM, font(14), anchor="ra")
    draw.text((left + _PAD, line), fit(draw, shot.name, 14, wide - 4 * _PAD - room), TEXT, font(14))
