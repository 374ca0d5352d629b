"""The pointwise part of a setting as a 3D LUT, what such a table leaves out, and other people's tables as goals.

Which sliders act on single pixels is not read from a list: a flat area has no surroundings to look at, so that what an
editor makes of a flat area of each colour is all that a table can hold. Our own chains render one small flat picture
for each colour. For an editor that is another program that would be thousands of files; it gets one chart of all
colours, each a small square, ordered by luma, so that all around a square is about as light as the square itself and
local contrast finds nothing to act on.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.cubefile import Cube, read_cube
from pixward.cubewrite import cube_text, write_cube
from pixward.editors.chain import Chain
from pixward.editors.external import ExternalEditor, FrameEditor
from pixward.errors import PixwardError
from pixward.image import from_tensor, quantize, to_tensor
from pixward.metrics.image import ciede2000, srgb_to_lab
from pixward.ops.color import luma
from pixward.ops.lut import as_table, lattice
from pixward.types import Editor

__all__ = ["SIZES", "Cube", "bake", "cube_text", "look_goal", "pointwise", "read_cube", "remainder", "write_cube"]

SIZES = (17, 33, 65)
"""Points on a side that programs expect: for cameras and monitors, the usual, and for what is to be exact."""
NOTICED = 0.5
"""Mean CIEDE2000 below which nothing is said to be missing."""
POINTWISE = 0.1
"""Mean CIEDE2000 up to which a slider counts as pointwise: charts of real editors are that exact."""
_FLAT, _FLAT_ELSEWHERE = 3, 24
"""Side in pixels of a flat picture: the least that has a pixel with neighbours all around; and for editors of people's
own, which promise nothing below it (:func:`pixward.checks.check_editor`)."""
_PATCH = 3
"""Side in pixels of a chart's squares; the middle is read."""
_COMPANY = 6
"""A photo's squares in a chart for each of the table's."""
_PART = 4096
"""Colours that are rendered at once."""
_STRIP = 1 << 20
"""Pixels that a table is applied to at once."""


def bake(editor: Editor, params: Tensor, size: int = 33, title: str = "", *, like: Tensor | None = None) -> Cube:
    """The part of a setting that acts on single pixels, as a table for display-referred sRGB.

    Args:
        editor: what renders; not one that renders a raw file of its own, whose input is no colour.
        params: the setting in slider units, ``(1, d)`` or ``(d,)``.
        size: points on a side, 2 to 256; programs expect one of :data:`SIZES`.
        title: what the table is called.
        like: the photo ``(1, 3, H, W)`` that the table is for, a preview will do. A slider of another program that
            looks at the whole picture (RawTherapee's contrast turns around the mean) then does what it does there.

    Returns:
        the table, rounded to six decimals: a fifteenth of a 16-bit step, and short in a file.

    Raises:
        PixwardError: an editor of raw files, or one that returns pixels that are not numbers.
        ValueError: a size or a shape that does not fit.
    """
    if not 2 <= size <= 256:
        raise ValueError(f"a table has 2 to 256 points on a side, got {size}")
    colours = pointwise(editor, params, lattice(size), like=like)
    return Cube(table=as_table((colours.double() * 1e6).round().div(1e6).float()).contiguous(), title=title)


def pointwise(editor: Editor, params: Tensor, colours: Tensor, *, like: Tensor | None = None) -> Tensor:
    """What becomes of a flat area of each of ``colours`` ``(M, 3)``; ``(M, 3)``. ``like``: see :func:`bake`.

    Raises:
        PixwardError, ValueError: as of :func:`bake`.
    """
    if isinstance(editor, FrameEditor):
        raise PixwardError(f"{editor.name} renders a raw file: what goes in is no colour, so no table can hold it")
    row = params.reshape(1, -1)
    with torch.no_grad():
        if not isinstance(editor, ExternalEditor):
            out = _flats(editor, row, colours)
        elif like is None:
            out = _chart(editor, row, colours)
        else:
            photo = like[0].flatten(1).T
            company = photo[torch.linspace(0, len(photo) - 1, _COMPANY * len(colours)).round().long()]
            out = _chart(editor, row, torch.cat([colours, company]))[: len(colours)]
    if not bool(out.isfinite().all()):
        raise PixwardError(f"the editor {editor.name} returned pixels that are not numbers")
    return out


def _flats(editor: Editor, row: Tensor, colours: Tensor) -> Tensor:
    """One flat picture for each colour, its middle read."""
    side = _FLAT if isinstance(editor, Chain) else _FLAT_ELSEWHERE
    parts = []
    for part in colours.to(row).split(_PART):
        pictures = part[:, :, None, None].expand(-1, -1, side, side)
        parts.append(editor(pictures, row.expand(len(part), -1))[:, :, side // 2, side // 2])
    return torch.cat(parts)


def _chart(editor: Editor, row: Tensor, colours: Tensor) -> Tensor:
    """All colours in one picture, ordered by luma; every second row of squares runs backwards."""
    order = luma(colours.T[None, :, :, None]).flatten().argsort()
    wide = math.ceil(math.sqrt(len(colours)))
    tall = -(-len(colours) // wide)
    # Squares that are left over repeat the lightest colour, so that the last row has no edge.
    cells = colours[F.pad(order, (0, wide * tall - len(order)), value=int(order[-1]))].view(tall, wide, 3).clone()
    cells[1::2] = cells[1::2].flip(1)
    picture = cells.permute(2, 0, 1)[None].repeat_interleave(_PATCH, 2).repeat_interleave(_PATCH, 3)
    rendered = editor(picture.to(row), row)
    squares = rendered[0, :, _PATCH // 2 :: _PATCH, _PATCH // 2 :: _PATCH].permute(1, 2, 0).clone()
    squares[1::2] = squares[1::2].flip(1)
    out = torch.empty_like(colours, dtype=squares.dtype)
    out[order] = squares.view(-1, 3)[: len(colours)]
    return out


# --- what a table leaves out ----------------------------------------------------------------------------------------


def remainder(editor: Editor, params: Tensor, image: Tensor, cube: Cube) -> dict[str, object]:
    """What ``cube`` does not hold of a setting, on one photo.

    Two things may be missing: ``surroundings``, what the editor does to this photo beyond what it does to flat areas
    of its colours (local contrast, sharpness, whatever looks at the whole picture), and ``grid``, what is lost between
    the entries of the table. Each slider that was moved is moved alone, which shows whether it looks at surroundings;
    if so it is switched off, and its share is how much the first part falls by that.

    Args:
        editor: what the table was baked from. It renders twice, and two or four times for each slider that was moved.
        params: the setting in slider units, ``(1, d)`` or ``(d,)``.
        image: the photo, ``(1, 3, H, W)``; a preview will do where radii follow the picture's size.
        cube: the table.

    Returns:
        plain data: ``delta_e`` between the direct render and the photo with the table applied, ``surroundings`` and
        ``grid`` (each ``{"mean", "p99"}`` in CIEDE2000), ``sliders`` (``{name: {"value", "alone", "fall", "share"}}``,
        the largest share first: what surroundings do with this slider alone, how much the mean falls without it, and
        that as a share, all together 1, or 0 where no slider does anything), and ``sentence``.

    Raises:
        PixwardError, ValueError: as of :func:`bake`.
    """
    row = params.reshape(1, -1)
    direct, flat = _both(editor, row, image)
    table = cube.apply(image)
    around = _difference(direct, flat)
    answer: dict[str, object] = {
        "delta_e": _difference(direct, table),
        "surroundings": around,
        "grid": _difference(flat, table),
    }
    sliders = _blame(editor, row, image, around["mean"])
    answer["sliders"] = sliders
    answer["sentence"] = _sentence(editor, answer, cube)
    return answer


def _both(editor: Editor, row: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """The render of ``image``, and what flat areas of its colours become, laid out like it."""
    with torch.no_grad():
        direct = editor(image, row)
    colours = image[0].flatten(1).T
    return direct, pointwise(editor, row, colours).T.reshape(image.shape)


def _difference(first: Tensor, second: Tensor) -> dict[str, float]:
    error = ciede2000(srgb_to_lab(first), srgb_to_lab(second)).flatten()
    # quantile() takes no more than 16 million values.
    last = error.kthvalue(max(1, math.ceil(0.99 * len(error)))).values
    return {"mean": round(float(error.mean()), 4), "p99": round(float(last), 4)}


def _blame(editor: Editor, row: Tensor, image: Tensor, whole: float) -> dict[str, dict[str, float]]:
    """Each moved slider's part in what surroundings do."""
    default = editor.space.defaults().to(row)
    found: dict[str, dict[str, float]] = {}
    for place in (row != default)[0].nonzero().flatten().tolist():
        alone, without = default.clone(), row.clone()
        alone[0, place], without[0, place] = row[0, place], default[0, place]
        blame = {"value": round(float(row[0, place]), 6), "alone": _around(editor, alone, image), "fall": 0.0}
        # A pointwise slider may strengthen what another one does, and is not to blame for it.
        if blame["alone"] >= POINTWISE:
            blame["fall"] = max(0.0, round(whole - _around(editor, without, image), 4))
        found[editor.space.names[place]] = blame
    total = sum(blame["fall"] for blame in found.values())
    for blame in found.values():
        blame["share"] = round(blame["fall"] / total, 4) if total > 0 else 0.0
    return dict(sorted(found.items(), key=lambda item: -item[1]["share"]))


def _around(editor: Editor, row: Tensor, image: Tensor) -> float:
    """What surroundings do, mean CIEDE2000."""
    return _difference(*_both(editor, row, image))["mean"]


def _sentence(editor: Editor, answer: dict, cube: Cube) -> str:
    total, around, grid = (answer[name]["mean"] for name in ("delta_e", "surroundings", "grid"))
    size = cube.table.shape[-1] if cube.table is not None else 0
    parts = []
    if around >= NOTICED:
        named = [name for name, blame in answer["sliders"].items() if blame["share"] >= 0.1][:3]
        words = [f"{name} {answer['sliders'][name]['value']:.3g}{_unit(editor, name)}" for name in named]
        listed = " and ".join(part for part in (", ".join(words[:-1]), words[-1] if words else "") if part)
        what = f"{listed} {'is' if len(words) == 1 else 'are'}" if words else "what looks at the whole picture is"
        last = answer["surroundings"]["p99"]
        parts.append(f"{what} not in the LUT: mean deltaE {around:.1f}, 99 % of the photo below {last:.1f}")
    if grid >= NOTICED:
        finer = "" if size >= max(SIZES) else "; a larger one may hold more"
        parts.append(f"a table of {size} points is coarse here: mean deltaE {grid:.1f}{finer}")
    if not parts:
        return f"The LUT holds the whole setting: mean deltaE {total:.2f} on this photo."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _unit(editor: Editor, name: str) -> str:
    unit = editor.space.specs[editor.space.index(name)].unit
    return f" {unit}" if unit else ""


# --- other people's looks -------------------------------------------------------------------------------------------


def look_goal(pixels: np.ndarray, cube: Cube) -> np.ndarray:
    """A photo with a look applied, 8 bit: what ``match`` then finds the sliders for.

    Args:
        pixels: ``(H, W, 3)`` uint8, uint16 or float in [0, 1], sRGB.
        cube: the look; it is taken to be made for display-referred sRGB, as looks for photos are.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: another shape or type.
    """
    rows = max(1, _STRIP // max(1, pixels.shape[1]))
    strips = [_look(pixels[top : top + rows], cube) for top in range(0, len(pixels), rows)]
    return np.concatenate(strips)


def _look(pixels: np.ndarray, cube: Cube) -> np.ndarray:
    return from_tensor(quantize(cube.apply(to_tensor(pixels))))
