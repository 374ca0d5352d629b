"""What pictures for people are drawn with: a neutral surround, one set of colours, text that fits, tiles."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# A neutral surround, as in photo editors: a coloured one would change how the pictures look.
GROUND, CARD, LINE = (24, 24, 24), (36, 36, 36), (62, 62, 62)
TEXT, DIM, DOT, ACCENT = (232, 232, 232), (160, 160, 160), (125, 125, 125), (244, 180, 60)


@lru_cache(maxsize=8)
def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font, ``size`` pixels high."""
    return ImageFont.load_default(size=size)


def printable(text: str) -> str:
    """``text`` without line breaks and bytes that are no text, which a file name may hold."""
    return "".join(c if c.isprintable() else "?" for c in text)


def fit(draw: ImageDraw.ImageDraw, text: str, size: int, room: float) -> str:
    """``text`` on one line, cut in the middle if it is wider than ``room`` pixels."""
    text = printable(text)
    if draw.textlength(text, font(size)) <= room:
        return text
    keep = len(text)
    while keep > 2:
        keep -= 1
        cut = f"{text[: keep - keep // 2]}...{text[len(text) - keep // 2 :]}"
        if draw.textlength(cut, font(size)) <= room:
            return cut
    return ""


def wrapped(draw: ImageDraw.ImageDraw, text: str, size: int, room: float) -> list[str]:
    """``text`` as lines of at most ``room`` pixels, broken at spaces."""
    lines = [""]
    for word in printable(text).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font(size)) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def picture(image: Tensor, side: int) -> Image.Image:
    """``(3, H, W)`` in [0, 1] as a picture of ``side`` pixels at the longest; pixels of tiny photos stay squares."""
    pixels = (image.detach().cpu() * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    drawn = Image.fromarray(np.ascontiguousarray(pixels))
    scale = side / max(drawn.size)
    if scale == 1:
        return drawn
    size = (max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale)))
    return drawn.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
