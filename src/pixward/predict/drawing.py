"""What a policy says, drawn on the picture it read: tints, outlines and names."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pixward.boxes import Segments
from pixward.image import from_tensor, to_tensor

_GOLDEN = 0.618034  # hues this far apart stay apart, however many there are


def colour_of(index: int) -> tuple[float, float, float]:
    """A vivid sRGB colour in [0, 1] for class ``index``, always the same, and far from those next to it."""
    return colorsys.hsv_to_rgb(index * _GOLDEN % 1, (0.9, 0.65)[index // 8 % 2], (1.0, 0.85)[index // 4 % 2])


def write(picture: Tensor, text: str, at: tuple[float, float], colour: Sequence[float] = (1, 1, 1)) -> Tensor:
    """``text`` on a dark plate in the picture ``(3, H, W)``, its middle near ``at`` (x, y in pixels), all of it inside.

    The letters, ``colour`` but lighter, grow with the picture. Text that is wider than the picture is cut.
    """
    height, width = picture.shape[1:]
    canvas = Image.fromarray(from_tensor(picture[None]))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=max(8, round(min(height, width) / 24)))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = max(1, round((bottom - top) / 5))
    wide, high = right - left + 2 * pad, bottom - top + 2 * pad
    x = max(0, min(at[0] - wide / 2, width - wide))
    y = max(0, min(at[1] - high / 2, height - high))
    draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=(24, 24, 24))
    ink = tuple(round(255 * (0.6 * value + 0.4)) for value in colour)  # dark blue is hard to read on the plate
    draw.text((x + pad - left, y + pad - top), text, font=font, fill=ink)
    return to_tensor(np.asarray(canvas))[0]


def tint(picture: Tensor, mask: Tensor, colour: Sequence[float], opacity: float = 0.45) -> Tensor:
    """The picture ``(3, H, W)`` with ``colour`` over the pixels of ``mask`` ``(H, W)``, which get an outline."""
    paint = picture.new_tensor(list(colour))[:, None, None]
    cover = opacity * mask + (1 - opacity) * outline(mask, max(1, round(min(picture.shape[1:]) / 200)))
    return picture + cover * (paint - picture)


def outline(mask: Tensor, width: int = 1) -> Tensor:
    """Which pixels of ``mask`` ``(H, W)`` bool lie within ``width`` of its rim; the picture's rim is none."""
    size = 2 * width + 1
    outside = F.max_pool2d((~mask)[None].float(), size, 1, width)[0] > 0
    return mask & outside


def draw_segments(image: Tensor, segments: Segments, names: Sequence[str], opacity: float = 0.45) -> Tensor:
    """Segments as translucent colours, one for each class, with outlines and the classes' names.

    Args:
        image: ``(3, H, W)`` in [0, 1].
        segments: one map of that size.
        names: of the classes.
        opacity: of the colours, in [0, 1].

    Raises:
        ValueError: a map of another size, or several.
    """
    if segments.ids.shape != (1, *image.shape[1:]):
        raise ValueError(f"need one map of {tuple(image.shape[1:])}, got {tuple(segments.ids.shape)}")
    picture, labelled = image, []
    for k in segments.valid[0].nonzero()[:, 0].tolist():
        mask, label = segments.ids[0] == k + 1, int(segments.labels[0, k])
        if bool(mask.any()):
            picture = tint(picture, mask, colour_of(label), opacity)
            labelled.append((names[label], middle(mask), colour_of(label)))
    for name, at, colour in labelled:
        picture = write(picture, name, at, colour)
    return picture


def middle(mask: Tensor) -> tuple[float, float]:
    """The pixel ``(x, y)`` of ``mask`` ``(H, W)`` nearest to its centre of mass; one of it must be True."""
    places = mask.nonzero().float()
    y, x = places[(places - places.mean(0)).square().sum(1).argmin()].tolist()
    return x, y
