"""The film strip: one picture that tells a search, from the photo through every render to the goal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pixward.image import quantize
from pixward.match import MatchResult
from pixward.params import ParamSpace
from pixward.search.problem import psnr

MOST_RENDERS = 60
"""The longest search of which every render is shown."""
PICKED_RENDERS = 22
"""How many a longer search shows: its first, those that improved on all before (thinned evenly), and its best."""

# A neutral surround, as in photo editors: a coloured one would change how the pictures look.
_GROUND, _CARD, _LINE = (24, 24, 24), (36, 36, 36), (62, 62, 62)
_TEXT, _DIM, _DOT, _ACCENT = (232, 232, 232), (160, 160, 160), (125, 125, 125), (244, 180, 60)
_SIDE, _GAP, _MARGIN, _PAD = 256, 16, 28, 10
_CAPTION, _HEADER, _PLOT = 104, 76, 200
_CHANGES = 3


@dataclass(frozen=True)
class Tile:
    """One picture of the strip.

    Attributes:
        picture: what it shows.
        title: left of the caption's first line.
        figure: right of it, e.g. the PSNR.
        lines: what stands below.
        best: marked as the chosen one.
    """

    picture: Image.Image
    title: str
    figure: str = ""
    lines: tuple[str, ...] = ()
    best: bool = False


def film(
    source: Tensor, goal: Tensor, result: MatchResult, space: ParamSpace, names: tuple[str, str] = ("photo", "goal")
) -> Image.Image:
    """Draw the strip of a search.

    Args:
        source: the photo as it was searched on, ``(1, 3, h, w)``.
        goal: the goal, the same shape.
        result: what :func:`pixward.match.match` returned for them.
        space: the sliders of its editor.
        names: what to call the two in the header, usually their file names.
    """
    tiles = _tiles(source, goal, result, space)
    width, height = tiles[0].picture.size
    card = (max(width, 168) + 2 * _PAD, height + _CAPTION + 2 * _PAD)
    columns = _columns(len(tiles), card)
    rows = math.ceil(len(tiles) / columns)
    body = rows * (card[1] + _GAP)
    # A strip of very few tiles still needs room for its header and its curve.
    total = max(columns * (card[0] + _GAP) - _GAP, 760)
    canvas = Image.new("RGB", (total + 2 * _MARGIN, _HEADER + body + _PLOT + 2 * _MARGIN), _GROUND)
    draw = ImageDraw.Draw(canvas)
    _header(draw, result, names, total, len(tiles) - 2)
    for k, tile in enumerate(tiles):
        left = _MARGIN + (k % columns) * (card[0] + _GAP)
        _draw_tile(canvas, draw, tile, (left, _MARGIN + _HEADER + (k // columns) * (card[1] + _GAP)), card)
    _curve(canvas, result, (_MARGIN, _MARGIN + _HEADER + body, _MARGIN + total, _MARGIN + _HEADER + body + _PLOT))
    return canvas


def shown(result: MatchResult) -> list[int]:
    """Which renders a strip shows, counted from 0; see :data:`MOST_RENDERS`."""
    errors = [trial.mse for trial in result.trials]
    if len(errors) <= MOST_RENDERS:
        return list(range(len(errors)))
    record, lowest = [0], errors[0]
    for k, error in enumerate(errors):
        if error < lowest:
            record.append(k)
            lowest = error
    if len(record) > PICKED_RENDERS:
        record = [record[round(i * (len(record) - 1) / (PICKED_RENDERS - 1))] for i in range(PICKED_RENDERS)]
    return record


def _tiles(source: Tensor, goal: Tensor, result: MatchResult, space: ParamSpace) -> list[Tile]:
    start = f"{result.source_distance['psnr']:.1f} dB"
    tiles = [Tile(_picture(quantize(source[0])), "photo", start, ("untouched",), best=result.best is None)]
    before = space.default_action()[0]
    for k in shown(result):
        trial = result.trials[k]
        lines = _changes(space, before, trial.action.cpu())
        picture = _picture(trial.image.float() / 255)
        tiles.append(Tile(picture, f"{k + 1}", f"{psnr(trial.mse):.1f} dB", lines, best=k == result.best))
        before = trial.action.cpu()
    return [*tiles, Tile(_picture(quantize(goal[0])), "goal")]


def _picture(image: Tensor) -> Image.Image:
    """``(3, H, W)`` in [0, 1] as a picture whose longest side fills its tile; pixels of tiny photos stay squares."""
    pixels = (image.detach().cpu() * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    scale = _SIDE / max(picture.size)
    if scale == 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _changes(space: ParamSpace, before: Tensor, after: Tensor) -> tuple[str, ...]:
    """The sliders that moved most, as a share of their range, with their new values."""
    moved = (after - before).abs()
    order = [int(i) for i in moved.argsort(descending=True) if moved[i] > 5e-4]
    values = space.denormalize(after)
    lines = []
    for i in order[:_CHANGES]:
        spec, value = space.specs[i], float(values[i])
        sign = "+" if spec.low < 0 and value > 0 else ""
        digits = 0 if spec.high - spec.low >= 50 else 2
        value = round(value, digits) + 0.0  # No minus sign before a zero.
        lines.append(f"{spec.name} {sign if value else ''}{value:.{digits}f} {spec.unit}".rstrip())
    if len(order) > _CHANGES:
        lines.append(f"and {len(order) - _CHANGES} more")
    return tuple(lines) or ("nothing changed",)


def _columns(tiles: int, card: tuple[int, int]) -> int:
    """As many columns as about 1,800 pixels hold, then evened out over the rows."""
    most = max(1, 1800 // (card[0] + _GAP))
    rows = math.ceil(tiles / most)
    return math.ceil(tiles / rows)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)


def _fit(draw: ImageDraw.ImageDraw, text: str, size: int, room: float) -> str:
    """``text`` on one line, cut in the middle if it is wider than ``room`` pixels."""
    # A file name may hold line breaks, or bytes that are no text.
    text = "".join(c if c.isprintable() else "?" for c in text)
    if draw.textlength(text, _font(size)) <= room:
        return text
    keep = len(text)
    while keep > 2:
        keep -= 1
        cut = f"{text[: keep - keep // 2]}...{text[len(text) - keep // 2 :]}"
        if draw.textlength(cut, _font(size)) <= room:
            return cut
    return ""


def _header(draw: ImageDraw.ImageDraw, result: MatchResult, names: tuple[str, str], room: int, tiles: int) -> None:
    title = f"{names[0]}  to  {names[1]}"
    gain = f"{result.source_distance['psnr']:.1f} dB untouched, {result.distance['psnr']:.1f} dB matched"
    draw.text((_MARGIN, _MARGIN - 6), _fit(draw, title, 24, room), _TEXT, _font(24))
    facts = [result.editor, result.strategy, _count(result.renders), gain]
    if tiles < result.renders:
        facts.append(f"{tiles} shown: the first, those that improved, the best")
    draw.text((_MARGIN, _MARGIN + 28), _fit(draw, "   |   ".join(facts), 15, room), _DIM, _font(15))


def _count(renders: int) -> str:
    return "1 render" if renders == 1 else f"{renders} renders"


def _draw_tile(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, at: tuple[int, int], card: tuple[int, int]
) -> None:
    left, top = at
    box = (left, top, left + card[0], top + card[1])
    draw.rounded_rectangle(box, 6, _CARD, _ACCENT if tile.best else None, 3 if tile.best else 0)
    canvas.paste(tile.picture, (left + (card[0] - tile.picture.width) // 2, top + _PAD))
    x, y, right = left + _PAD, top + 2 * _PAD + tile.picture.height, left + card[0] - _PAD
    draw.text((x, y), tile.title, _TEXT, _font(17))
    if tile.best:
        start = x + draw.textlength(tile.title, _font(17)) + 8
        draw.rounded_rectangle((start, y + 1, start + 42, y + 20), 9, _ACCENT)
        draw.text((start + 21, y + 10), "best", _GROUND, _font(13), anchor="mm")
    draw.text((right, y), tile.figure, _ACCENT if tile.best else _TEXT, _font(17), anchor="ra")
    for k, line in enumerate(tile.lines):
        draw.text((x, y + 25 + 18 * k), _fit(draw, line, 14, right - x), _DIM, _font(14))


def _curve(canvas: Image.Image, result: MatchResult, box: tuple[int, int, int, int]) -> None:
    """PSNR over renders: a dot for each render, a line for the best so far."""
    draw = ImageDraw.Draw(canvas)
    start = result.source_distance["psnr"]
    each = [start, *(psnr(trial.mse) for trial in result.trials)]
    best = [max(each[: k + 1]) for k in range(len(each))]
    left, top, right, bottom = box[0] + 48, box[1] + 36, box[2] - 16, box[3] - 30
    draw.text((box[0], box[1] + 2), "PSNR to the goal in dB: each render, and the best so far", _DIM, _font(14))
    low, high, step = _ticks(min(each), max(best))

    def point(k: float, value: float) -> tuple[float, float]:
        return left + (right - left) * k / (len(each) - 1), bottom - (bottom - top) * (value - low) / (high - low)

    for i in range(round((high - low) / step) + 1):
        y = point(0, low + i * step)[1]
        draw.line((left, y, right, y), _LINE)
        draw.text((left - 10, y), f"{low + i * step:g}", _DIM, _font(13), anchor="rm")
    stride = 1 if len(each) <= 32 else math.ceil(len(each) / 100) * 5
    for k in range(0, len(each), stride):
        draw.text((point(k, low)[0], bottom + 8), str(k), _DIM, _font(13), anchor="ma")
    size = 2.0 if len(each) > 100 else 3.5
    dots = [(point(k, value), size, _DOT) for k, value in enumerate(each)]
    chosen = 0 if result.best is None else result.best + 1
    dots.append((point(chosen, each[chosen]), 6, _ACCENT))
    _draw_smooth(
        canvas, (box[0], box[1] + 24, box[2], box[3] - 20), _stairs(list(map(point, range(len(each)), best))), dots
    )


def _draw_smooth(
    canvas: Image.Image,
    box: tuple[int, int, int, int],
    line: Sequence[tuple[float, float]],
    dots: Sequence[tuple[tuple[float, float], float, tuple[int, int, int]]],
) -> None:
    """A line under dots, drawn four times as large and reduced: PIL itself does not smooth edges."""
    zoom = 4
    part = canvas.crop(box).resize(((box[2] - box[0]) * zoom, (box[3] - box[1]) * zoom), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(part)

    def place(at: tuple[float, float]) -> tuple[float, float]:
        return (at[0] - box[0] + 0.5) * zoom, (at[1] - box[1] + 0.5) * zoom

    draw.line([place(at) for at in line], _ACCENT, 2 * zoom, joint="curve")
    for at, radius, colour in dots:
        (x, y), r = place(at), radius * zoom
        draw.ellipse((x - r, y - r, x + r, y + r), colour)
    canvas.paste(part.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BOX), box[:2])


def _ticks(low: float, high: float) -> tuple[float, float, float]:
    """Round ends and a round step for an axis over ``[low, high]`` with about four lines."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100) if (high - low) / s <= 4)
    bottom, top = math.floor(low / step) * step, math.ceil(high / step) * step
    return bottom, max(top, bottom + step), step


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    steps = [points[0]]
    for x, y in points[1:]:
        steps += [(x, steps[-1][1]), (x, y)]
    return steps
