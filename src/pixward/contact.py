"""Many photos on one sheet, for people to look at: before, after and goal of each, side by side."""

from __future__ import annotations

import math
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
    wide, tall = 3 * _SIDE + 4 * _PAD, _SIDE + 2 * _PAD + _CAPTION
    rows = math.ceil(len(shots) / columns)
    size = (
        2 * _MARGIN + columns * (wide + _GAP) - _GAP,
        2 * _MARGIN + _HEADER + rows * (tall + _GAP) - _GAP,
    )
    canvas = Image.new("RGB", size, GROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN - 6), fit(draw, title, 20, size[0] - 2 * _MARGIN), TEXT, font(20))
    for k, shot in enumerate(shots):
        left, top = _MARGIN + k % columns * (wide + _GAP), _MARGIN + _HEADER + k // columns * (tall + _GAP)
        draw.rectangle((left, top, left + wide - 1, top + tall - 1), CARD)
        for place, image in enumerate(shot.pictures):
            drawn = picture(quantize(image)[0], _SIDE)
            x = left + _PAD + place * (_SIDE + _PAD) + (_SIDE - drawn.width) // 2
            canvas.paste(drawn, (x, top + _PAD + (_SIDE - drawn.height) // 2))
        line = top + 2 * _PAD + _SIDE
        room = draw.textlength(shot.words, font(14))
        draw.text((left + wide - _PAD, line), shot.words, DIM, font(14), anchor="ra")
        draw.text((left + _PAD, line), fit(draw, shot.name, 14, wide - 4 * _PAD - room), TEXT, font(14))
    return canvas
