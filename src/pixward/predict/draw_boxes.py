"""Boxes drawn on a picture at its own size: a line in the class's colour, and its name and score on a dark plate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pixward.boxes import Boxes
from pixward.image import from_tensor, to_tensor
from pixward.predict.drawing import colour_of

_PLATE = (24, 24, 24)


def boxes_said(boxes: Boxes, names: Sequence[str], size: tuple[int, int]) -> list[dict[str, Any]]:
    """The boxes of the first picture of a batch, for machines; the surest first.

    Args:
        boxes: shares of the picture, with scores.
        names: of the classes.
        size: ``(width, height)`` of the picture in pixels.

    Returns:
        for each valid box ``label``, ``score`` in [0, 1] and ``box``, ``[x0, y0, x1, y1]`` in pixels.

    Raises:
        ValueError: boxes without scores.
    """
    if boxes.scores is None:
        raise ValueError("boxes are told with their scores: give them some")
    said = []
    for index in boxes.valid[0].nonzero()[:, 0].tolist():
        corners = [round(share * size[i % 2], 1) for i, share in enumerate(boxes.boxes[0, index].tolist())]
        score = round(float(boxes.scores[0, index]), 4)
        said.append({"label": names[int(boxes.labels[0, index])], "score": score, "box": corners})
    return sorted(said, key=lambda box: -box["score"])


def draw_boxes(image: Tensor, said: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Tensor:
    """What :func:`boxes_said` gave, drawn on the picture ``(3, H, W)`` in [0, 1]; the surest on top.

    Lines and letters grow with the picture. A dark rim on both sides of a line shows it on bright ground.
    """
    canvas = Image.fromarray(from_tensor(image[None].cpu()))
    draw = ImageDraw.Draw(canvas)
    shorter = min(canvas.size)
    font = ImageFont.load_default(size=max(9, round(shorter / 28)))
    line, rim = max(1, round(shorter / 200)), max(1, round(shorter / 600))
    colours = {name: _bytes(colour_of(index)) for index, name in enumerate(names)}
    for box in reversed(said):
        x0, y0, x1, y1 = (round(value) for value in box["box"])
        # The last pixel of a box that ends at the picture's rim lies inside.
        corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
        for grown, width, colour in ((rim, line + 2 * rim, _PLATE), (0, line, colours[box["label"]])):
            places = (corners[0] - grown, corners[1] - grown, corners[2] + grown, corners[3] + grown)
            draw.rectangle(places, outline=colour, width=width)
    for box in reversed(said):  # after all lines, which would run through the words
        _label(draw, f"{box['label']} {box['score']:.2f}", box["box"], colours[box["label"]], font)
    return to_tensor(np.asarray(canvas))[0]


def _label(
    draw: ImageDraw.ImageDraw,
    text: str,
    box: Sequence[float],
    colour: tuple[int, int, int],
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    """Above the box, or inside where there is no room above; never beyond the picture's right rim if it fits at all."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = max(1, round((bottom - top) / 5))
    wide, high = round(right - left) + 2 * pad, round(bottom - top) + 2 * pad
    x = max(0, min(round(box[0]), draw.im.size[0] - wide))
    y = round(box[1]) - high if box[1] >= high else min(round(box[1]), draw.im.size[1] - high)
    draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=_PLATE)
    ink = tuple(round(0.6 * value + 0.4 * 255) for value in colour)  # a dark blue is hard to read on the plate
    draw.text((x + pad - left, y + pad - top), text, font=font, fill=ink)


def _bytes(colour: Sequence[float]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * value) for value in colour)
    return red, green, blue
