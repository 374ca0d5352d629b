"""What the sliders could not reach, as a picture: deltaE of every pixel, beside render and goal."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from pixward.image import quantize
from pixward.metrics.image import ciede2000, srgb_to_lab
from pixward.panels import CARD, DIM, GROUND, TEXT, fit, font, picture, wrapped
from pixward.unreached import VISIBLE

TOP = 10.0
"""deltaE at the upper end of the colour scale. It is the same for every picture, so that maps can be compared."""
STOPS = (
    (0.0, (18, 18, 22)),
    (1.0, (26, 42, 84)),
    (2.0, (36, 84, 148)),
    (4.0, (118, 84, 164)),
    (6.0, (222, 92, 92)),
    (8.0, (250, 172, 72)),
    (10.0, (255, 246, 190)),
)
"""deltaE -> colour. Lighter is always more, also for people who see no colours; what nobody sees stays dark."""
NOT_COMPARED = (70, 70, 70)
"""Grey, which the scale does not hold: where a raw file's goal shows something else."""

_SIDE, _GAP, _MARGIN = 512, 16, 28
_HEADER, _CAPTION, _SCALE = 56, 34, 64


def difference(output: Tensor, goal: Tensor) -> Tensor:
    """CIEDE2000 of each pixel of two pictures ``(1, 3, H, W)`` in [0, 1], rounded to 8 bit: ``(H, W)``."""
    with torch.no_grad():
        return ciede2000(srgb_to_lab(quantize(output)), srgb_to_lab(quantize(goal))).reshape(output.shape[2:])


def coloured(error: Tensor, weight: Tensor | None = None) -> Tensor:
    """``error`` ``(H, W)`` in the colours of :data:`STOPS`, ``(3, H, W)`` in [0, 1].

    ``weight``: ``(1, 1, H, W)``; where it is at most half, the two were not compared.
    """
    places = torch.tensor([stop for stop, _ in STOPS]).to(error)
    colours = torch.tensor([colour for _, colour in STOPS]).to(error) / 255
    value = error.clamp(0, TOP)
    upper = torch.bucketize(value, places).clamp(1, len(STOPS) - 1)
    share = ((value - places[upper - 1]) / (places[upper] - places[upper - 1]))[..., None]
    mixed = torch.lerp(colours[upper - 1], colours[upper], share).permute(2, 0, 1)
    if weight is None:
        return mixed
    grey = torch.tensor(NOT_COMPARED).to(error)[:, None, None] / 255
    return torch.where(weight[0] > 0.5, mixed, grey)


def residual(
    output: Tensor, goal: Tensor, unreached: Mapping[str, object], name: str = "photo", weight: Tensor | None = None
) -> Image.Image:
    """Draw the best render, the goal and the map of their difference, with its scale and the sentence.

    Args:
        output: the best render as the search saw it, ``(1, 3, h, w)`` in [0, 1].
        goal: the goal, the same shape.
        unreached: what :func:`pixward.unreached.explain` said of the two.
        name: what to call the photo.
        weight: how much each pixel counts, ``(1, 1, h, w)``, with mean 1; None where all count alike.
    """
    mapped = coloured(difference(output, goal), weight)
    tiles = [picture(part, _SIDE) for part in (quantize(output)[0], quantize(goal)[0], mapped)]
    wide, tall = tiles[0].size
    cell = max(wide, 300)
    total = 3 * cell + 2 * _GAP
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    lines = wrapped(probe, str(unreached["sentence"]), 17, total)
    size = (total + 2 * _MARGIN, 2 * _MARGIN + _HEADER + tall + _CAPTION + _SCALE + 24 * len(lines))
    canvas = Image.new("RGB", size, GROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN - 6), fit(draw, f"{name}: what is left", 24, total), TEXT, font(24))
    titles = ("best render", "goal", "difference, deltaE 2000")
    for k, (tile, title) in enumerate(zip(tiles, titles, strict=True)):
        left, top = _MARGIN + k * (cell + _GAP), _MARGIN + _HEADER
        canvas.paste(tile, (left + (cell - wide) // 2, top))
        draw.text((left, top + tall + 8), fit(draw, title, 16, cell), TEXT, font(16))
    top = _MARGIN + _HEADER + tall + _CAPTION
    _scale(canvas, draw, (_MARGIN + 2 * (cell + _GAP), top, cell), with_grey=weight is not None)
    _figures(draw, unreached, (_MARGIN, top + 4, 2 * cell))
    for k, line in enumerate(lines):
        draw.text((_MARGIN, top + _SCALE + 24 * k), line, TEXT, font(17))
    return canvas


def _figures(draw: ImageDraw.ImageDraw, unreached: Mapping[str, object], at: tuple[int, int, int]) -> None:
    error = unreached["delta_e"]
    if not isinstance(error, Mapping):
        return
    within = math.floor(float(str(unreached["within"])) * 1000) / 10  # Rounded down, as in the sentence.
    text = (
        f"deltaE: mean {error['mean']:.2f}, worst hundredth {error['worst']:.1f}; within {VISIBLE:g}: {within:g} % "
        f"(below {VISIBLE:g} hardly anyone sees a difference)"
    )
    draw.text(at[:2], fit(draw, text, 15, at[2]), DIM, font(15))


def _scale(canvas: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int, int], *, with_grey: bool) -> None:
    """The colours with their numbers."""
    left, top, width = at
    ramp = coloured(torch.linspace(0, TOP, width)[None].expand(14, -1))
    canvas.paste(Image.fromarray((ramp * 255).round().byte().permute(1, 2, 0).contiguous().numpy()), (left, top))
    draw.rectangle((left, top, left + width - 1, top + 13), outline=CARD)
    for value in (0, 2, 4, 6, 8, 10):
        anchor = {0: "la", 10: "ra"}.get(value, "ma")
        words = f"{value} or more" if value == TOP else f"{value}"
        draw.text((left + value / TOP * (width - 1), top + 18), words, DIM, font(13), anchor=anchor)
    if with_grey:
        draw.text((left + width - 1, top - 24), "grey: not compared", DIM, font(13), anchor="ra")
