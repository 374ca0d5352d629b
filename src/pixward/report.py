"""The film strip: one picture that tells a search, from the photo through every render to the goal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw
from torch import Tensor

from pixward.image import quantize
from pixward.match import MatchResult
from pixward.panels import ACCENT, CARD, DIM, DOT, GROUND, LINE, TEXT, fit, font, picture
from pixward.params import ParamSpace
from pixward.search.problem import psnr

MOST_RENDERS = 60
"""The longest search of which every render is shown."""
PICKED_RENDERS = 22
"""How many a longer search shows: its first, those that improved on all before (thinned evenly), and its best."""

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


@dataclass(frozen=True)
class Measure:
    """How near a render is, as a strip tells it.

    Attributes:
        key: of ``MatchResult.distance``.
        title: of the curve.
        figure: a value in words.
        value: of a trial's ``mse``.
        rising: whether higher is nearer.
        step: the finest that the curve's axis counts in.
    """

    key: str
    title: str
    figure: Callable[[float], str]
    value: Callable[[float], float]
    rising: bool
    step: float


PSNR = Measure("psnr", "PSNR to the goal in dB", lambda value: f"{value:.1f} dB", psnr, True, 1)
LOOK = Measure(
    "look",
    "distance to the look (lower is nearer)",
    lambda value: f"look {value:.3f}",
    lambda mse: math.sqrt(max(mse, 0.0)),
    False,
    0.001,
)


def measure_of(result: MatchResult) -> Measure:
    """What ``result`` is measured by: a picture of another scene has no PSNR."""
    return LOOK if LOOK.key in result.distance else PSNR


def film(
    source: Tensor, goal: Tensor, result: MatchResult, space: ParamSpace, names: tuple[str, str] = ("photo", "goal")
) -> Image.Image:
    """Draw the strip of a search.

    Args:
        source: the photo as it was searched on, ``(1, 3, h, w)``.
        goal: the goal, the same shape; for a look the reference, of any.
        result: what :func:`pixward.match.match` returned for them.
        space: the sliders of its editor.
        names: what to call the two in the header, usually their file names.
    """
    tiles = _tiles(source, goal, result, space)
    width, height = (max(side) for side in zip(*(tile.picture.size for tile in tiles), strict=True))
    card = (max(width, 168) + 2 * _PAD, height + _CAPTION + 2 * _PAD)
    columns = _columns(len(tiles), card)
    rows = math.ceil(len(tiles) / columns)
    body = rows * (card[1] + _GAP)
    # A strip of very few tiles still needs room for its header and its curve.
    total = max(columns * (card[0] + _GAP) - _GAP, 760)
    canvas = Image.new("RGB", (total + 2 * _MARGIN, _HEADER + body + _PLOT + 2 * _MARGIN), GROUND)
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
    # Towards a look the solver may have settled for a render that is not the nearest.
    return record if result.best is None else sorted({*record, result.best})


def _tiles(source: Tensor, goal: Tensor, result: MatchResult, space: ParamSpace) -> list[Tile]:
    measure = measure_of(result)
    start = measure.figure(result.source_distance[measure.key])
    tiles = [Tile(picture(quantize(source[0]), _SIDE), "photo", start, ("untouched",), best=result.best is None)]
    before = space.default_action()[0]
    for k in shown(result):
        trial = result.trials[k]
        lines = _changes(space, before, trial.action.cpu())
        drawn, figure = picture(trial.image.float() / 255, _SIDE), measure.figure(measure.value(trial.mse))
        tiles.append(Tile(drawn, f"{k + 1}", figure, lines, best=k == result.best))
        before = trial.action.cpu()
    # A reference has its own shape: it is drawn to fit where a photo does.
    wide, tall = tiles[0].picture.size
    side = max(goal.shape[2:]) * min(wide / goal.shape[3], tall / goal.shape[2])
    return [*tiles, Tile(picture(quantize(goal[0]), round(side)), "goal" if measure is PSNR else "reference")]


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


def _header(draw: ImageDraw.ImageDraw, result: MatchResult, names: tuple[str, str], room: int, tiles: int) -> None:
    title = f"{names[0]}  to  {names[1]}"
    measure = measure_of(result)
    before, after = (measure.figure(row[measure.key]) for row in (result.source_distance, result.distance))
    gain = f"{before} untouched, {after} matched"
    draw.text((_MARGIN, _MARGIN - 6), fit(draw, title, 24, room), TEXT, font(24))
    facts = [result.editor, result.strategy, _count(result.renders), gain]
    if tiles < result.renders:
        facts.append(f"{tiles} shown: the first, those that improved, the best")
    draw.text((_MARGIN, _MARGIN + 28), fit(draw, "   |   ".join(facts), 15, room), DIM, font(15))


def _count(renders: int) -> str:
    return "1 render" if renders == 1 else f"{renders} renders"


def _draw_tile(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, at: tuple[int, int], card: tuple[int, int]
) -> None:
    left, top = at
    box = (left, top, left + card[0], top + card[1])
    draw.rounded_rectangle(box, 6, CARD, ACCENT if tile.best else None, 3 if tile.best else 0)
    canvas.paste(tile.picture, (left + (card[0] - tile.picture.width) // 2, top + _PAD))
    x, y, right = left + _PAD, top + 2 * _PAD + tile.picture.height, left + card[0] - _PAD
    draw.text((x, y), tile.title, TEXT, font(17))
    if tile.best:
        start = x + draw.textlength(tile.title, font(17)) + 8
        draw.rounded_rectangle((start, y + 1, start + 42, y + 20), 9, ACCENT)
        draw.text((start + 21, y + 10), "best", GROUND, font(13), anchor="mm")
    draw.text((right, y), tile.figure, ACCENT if tile.best else TEXT, font(17), anchor="ra")
    for k, line in enumerate(tile.lines):
        draw.text((x, y + 25 + 18 * k), fit(draw, line, 14, right - x), DIM, font(14))


def _curve(canvas: Image.Image, result: MatchResult, box: tuple[int, int, int, int]) -> None:
    """PSNR, or distance to a look, over renders: a dot for each render, a line for the best so far."""
    draw, measure = ImageDraw.Draw(canvas), measure_of(result)
    start = result.source_distance[measure.key]
    each = [start, *(measure.value(trial.mse) for trial in result.trials)]
    best = list(itertools.accumulate(each, max if measure.rising else min))
    left, top, right, bottom = box[0] + 48, box[1] + 36, box[2] - 16, box[3] - 30
    draw.text((box[0], box[1] + 2), f"{measure.title}: each render, and the best so far", DIM, font(14))
    low, high, step = _ticks(min(each), max(best if measure.rising else each), measure.step)

    def point(k: float, value: float) -> tuple[float, float]:
        return left + (right - left) * k / (len(each) - 1), bottom - (bottom - top) * (value - low) / (high - low)

    for i in range(round((high - low) / step) + 1):
        y = point(0, low + i * step)[1]
        draw.line((left, y, right, y), LINE)
        draw.text((left - 10, y), f"{low + i * step:g}", DIM, font(13), anchor="rm")
    stride = 1 if len(each) <= 32 else math.ceil(len(each) / 100) * 5
    for k in range(0, len(each), stride):
        draw.text((point(k, low)[0], bottom + 8), str(k), DIM, font(13), anchor="ma")
    size = 2.0 if len(each) > 100 else 3.5
    dots = [(point(k, value), size, DOT) for k, value in enumerate(each)]
    chosen = 0 if result.best is None else result.best + 1
    dots.append((point(chosen, each[chosen]), 6, ACCENT))
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

    draw.line([place(at) for at in line], ACCENT, 2 * zoom, joint="curve")
    for at, radius, colour in dots:
        (x, y), r = place(at), radius * zoom
        draw.ellipse((x - r, y - r, x + r, y + r), colour)
    canvas.paste(part.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BOX), box[:2])


def _ticks(low: float, high: float, least: float = 1) -> tuple[float, float, float]:
    """Round ends and a round step, ``least`` or more, for an axis over ``[low, high]`` with about four lines."""
    steps = (least * k * 10**power for power in range(6) for k in (1, 2, 5))
    step = next(s for s in steps if (high - low) / s <= 4)
    bottom, top = math.floor(low / step) * step, math.ceil(high / step) * step
    return bottom, max(top, bottom + step), step


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    steps = [points[0]]
    for x, y in points[1:]:
        steps += [(x, steps[-1][1]), (x, y)]
    return steps
