"""A picture of what a pixel policy did: who chose what, where, and how much it changed."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pixward.ops.pixel import COLOUR, RESTORE, SALIENCY, ActionSet
from pixward.pixel.trace import Trace, rounded

Colour = tuple[int, int, int]

_GROUND, _CARD, _TEXT, _DIM = (24, 24, 24), (36, 36, 36), (232, 232, 232), (165, 165, 165)
_MARGIN, _GAP, _LEGEND = 28, 18, 216
_MAP, _PHOTO, _PANEL = 300, 420, 360  # longest sides in pixels
_STEPS_IN_A_ROW = 5
_CAPTION = 62
_RESTORE = {  # kin look alike: one hue per filter, light for weak and dark for strong
    "darker": (66, 133, 244),
    "nothing": (70, 70, 70),
    "brighter": (255, 214, 51),
    "gaussian 0.5": (160, 222, 140),
    "gaussian 1.5": (38, 150, 60),
    "bilateral 0.1": (224, 170, 240),
    "bilateral 1.0": (160, 60, 190),
    "median": (235, 87, 66),
    "box": (60, 200, 200),
}
_SALIENCY = {
    "nothing": (70, 70, 70),
    "darker": (48, 88, 190),
    "brighter": (255, 214, 51),
    "less saturation": (158, 158, 166),
    "more saturation": (222, 60, 160),
    "less contrast": (140, 205, 190),
    "more contrast": (240, 120, 40),
}
_HEAT = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))  # black to white through red


@dataclass(frozen=True)
class MapsText:
    """The words on the picture.

    Attributes:
        title: first line, e.g. the file's name.
        facts: second line.
        items: what each image of the trace's batch is, e.g. the channels; one name each.
    """

    title: str
    facts: str
    items: tuple[str, ...]


def colours(actions: ActionSet) -> list[Colour]:
    """One colour for each action, "nothing" in dark grey."""
    if actions is RESTORE:
        return [_RESTORE[name] for name in actions.names]
    if actions is SALIENCY:
        return [_SALIENCY[name] for name in actions.names]
    wheel = [colorsys.hsv_to_rgb(k / len(actions), 0.55 + 0.35 * (k % 2), 0.95) for k in range(len(actions))]
    made: list[Colour] = [(round(r * 255), round(g * 255), round(b * 255)) for r, g, b in wheel]
    if actions is COLOUR:
        made[COLOUR.index("nothing")] = _RESTORE["nothing"]
    return made


def heat(values: Tensor) -> Tensor:
    """``values`` ``(B, H, W)`` in [0, 1] as colours ``(B, 3, H, W)``: black, violet, red, orange, pale yellow."""
    stops = values.new_tensor(_HEAT) / 255
    place = values.clamp(0, 1) * (len(_HEAT) - 1)
    low = place.floor().long().clamp_max(len(_HEAT) - 2)
    return torch.lerp(stops[low], stops[low + 1], (place - low).unsqueeze(-1)).movedim(-1, 1)


def draw_maps(
    before: Tensor, after: Tensor, trace: Trace, text: MapsText, panels: Sequence[tuple[str, Tensor]] = ()
) -> Image.Image:
    """Input and result, the share of each action in each step with the legend, and all action maps.

    Args:
        before: the picture as it was, ``(1, C, H, W)`` with 1 or 3 channels.
        after: the picture as it became, the same shape.
        trace: the run, its batch being what ``text.items`` names.
        text: the words.
        panels: further pictures, ``(1, 1 or 3, H, W)``, with their names, for a row of their own.
    """
    steps, items = trace.maps.shape[:2]
    small = [[_map_picture(trace, step, item) for step in range(steps)] for item in range(items)]
    cell = (max(small[0][0].width, 200), small[0][0].height + _CAPTION)
    columns = min(steps, _STEPS_IN_A_ROW)
    rows = math.ceil(steps / columns) * items
    photos = [_photo(before), _photo(after)]
    bars = max(360, 90 * steps) if steps <= _STEPS_IN_A_ROW else 56 * steps
    top_width = photos[0].width + photos[1].width + bars + _LEGEND + 3 * _GAP
    width = 2 * _MARGIN + max(top_width, columns * (cell[0] + _GAP) - _GAP)
    extra = [(name, _resized(_photo(panel), _PANEL, Image.Resampling.LANCZOS)) for name, panel in panels]
    width = max(width, 2 * _MARGIN + sum(panel.width + _GAP for _, panel in extra) - _GAP)
    upper = max(photos[0].height + 34, 34 + 22 * len(trace.actions) + 20, 260)
    between = max((panel.height + 28 + _GAP for _, panel in extra), default=0)
    height = 2 * _MARGIN + 70 + upper + _GAP + between + rows * (cell[1] + _GAP)
    canvas = Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN - 6), _fit(draw, text.title, 24, width - 2 * _MARGIN), _TEXT, _font(24))
    draw.text((_MARGIN, _MARGIN + 28), _fit(draw, text.facts, 15, width - 2 * _MARGIN), _DIM, _font(15))
    x, y = _MARGIN, _MARGIN + 70
    _row(canvas, list(zip(("before", "after"), photos, strict=True)), (x, y))
    x += sum(photo.width + _GAP for photo in photos)
    _shares(draw, trace, (x, y, x + bars, y + upper))
    _legend(draw, trace.actions, (x + bars + _GAP, y))
    _row(canvas, extra, (_MARGIN, y + upper + _GAP))
    _all_maps(canvas, small, trace, text.items, (_MARGIN, y + upper + _GAP + between, *cell))
    return canvas


def _row(canvas: Image.Image, pictures: Sequence[tuple[str, Image.Image]], place: tuple[int, int]) -> None:
    """Pictures side by side, each under its name."""
    draw, (x, y) = ImageDraw.Draw(canvas), place
    for name, picture in pictures:
        draw.text((x, y), name, _TEXT, _font(17))
        canvas.paste(picture, (x, y + 28))
        x += picture.width + _GAP


def _all_maps(
    canvas: Image.Image,
    small: Sequence[Sequence[Image.Image]],
    trace: Trace,
    items: Sequence[str],
    place: tuple[int, int, int, int],
) -> None:
    left, top, wide, high = place
    draw = ImageDraw.Draw(canvas)
    for item, row in enumerate(small):
        changes, shares = trace.item(item).changes(), trace.item(item).shares()
        for step, picture in enumerate(row):
            line = item * math.ceil(len(row) / _STEPS_IN_A_ROW) + step // _STEPS_IN_A_ROW
            x, y = left + (step % _STEPS_IN_A_ROW) * (wide + _GAP), top + line * (high + _GAP)
            canvas.paste(picture, (x, y))
            name = f"step {step + 1}" + (f", {items[item]}" if len(items) > 1 else "")
            draw.text((x, y + picture.height + 5), name, _TEXT, _font(16))
            moved = f"mean change {changes[step]:.2f} of 255"
            draw.text((x, y + picture.height + 26), _fit(draw, moved, 13, wide), _DIM, _font(13))
            most = sorted(shares[step].items(), key=lambda pair: -pair[1])[:2]
            favourites = ",  ".join(f"{name} {share:.0%}" for name, share in most)
            draw.text((x, y + picture.height + 42), _fit(draw, favourites, 13, wide), _DIM, _font(13))


def _shares(draw: ImageDraw.ImageDraw, trace: Trace, box: tuple[int, int, int, int]) -> None:
    """One column per step, stacked by action in the order of the legend, which reads from the top."""
    left, top, right, bottom = box
    draw.text((left, top), "share of each action, by step", _TEXT, _font(17))
    top, bottom = top + 28, bottom - 24
    shares, palette = trace.shares(), colours(trace.actions)
    wide = (right - left) / len(shares)
    for step, share in enumerate(shares):
        x0, x1, reached = left + step * wide + 3, left + (step + 1) * wide - 3, 0.0
        for colour, value in zip(palette, share.values(), strict=True):
            y0, y1 = top + reached * (bottom - top), top + (reached + value) * (bottom - top)
            reached += value
            if y1 - y0 >= 0.5:
                draw.rectangle((x0, y0, x1, y1), colour)
            if y1 - y0 >= 15 and wide >= 44:
                ink = (0, 0, 0) if sum(colour) > 330 else (255, 255, 255)
                draw.text(((x0 + x1) / 2, (y0 + y1) / 2), f"{value:.0%}", ink, _font(12), anchor="mm")
        draw.text(((x0 + x1) / 2, bottom + 12), str(step + 1), _DIM, _font(14), anchor="mm")


def _legend(draw: ImageDraw.ImageDraw, actions: ActionSet, place: tuple[int, int]) -> None:
    left, top = place
    draw.text((left, top), "what a pixel did", _TEXT, _font(17))
    for k, (name, colour) in enumerate(zip(actions.names, colours(actions), strict=True)):
        y = top + 32 + 22 * k
        draw.rectangle((left, y, left + 16, y + 16), colour)
        draw.text((left + 26, y + 8), name, _TEXT, _font(15), anchor="lm")


def _map_picture(trace: Trace, step: int, item: int) -> Image.Image:
    indices = trace.maps[step, item].cpu().numpy()
    table = np.array(colours(trace.actions), np.uint8)
    skip = max(1, math.ceil(max(indices.shape) / (4 * _MAP)))  # no full-size colour copy of a large picture
    return _resized(Image.fromarray(table[indices[::skip, ::skip]]), _MAP, Image.Resampling.NEAREST)


def _photo(image: Tensor) -> Image.Image:
    planes = (rounded(image[0]) * 255).byte().cpu().numpy()
    picture = Image.fromarray(np.ascontiguousarray(planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)))
    return _resized(picture, _PHOTO, Image.Resampling.LANCZOS).convert("RGB")


def _resized(picture: Image.Image, longest: int, reduce_by: Image.Resampling) -> Image.Image:
    """Longest side exactly ``longest``; small pictures grow in whole pixels that stay sharp."""
    scale = longest / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, reduce_by if scale < 1 else Image.Resampling.NEAREST)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)


def _fit(draw: ImageDraw.ImageDraw, text: str, size: int, room: float) -> str:
    """``text`` on one line, cut at its end if it is wider than ``room`` pixels."""
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    if draw.textlength(text, _font(size)) <= room:
        return text
    while text and draw.textlength(text + "...", _font(size)) > room:
        text = text[:-1]
    return text + "..."
