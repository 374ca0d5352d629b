"""One setting for many photos: their previews are laid side by side and searched on as if they were one picture.

The editor is wrapped: :class:`SeriesEditor` cuts the picture into its tiles, has each rendered by itself, so that
radii, vignettes and statistics stay those of one photo, and lays the renders side by side again. Problem, solvers and
networks need not know. A render of the picture is one render of every photo, and is counted as one: ``renders`` counts
settings tried. Every photo counts alike in the error, however large its tile is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.framing import PREVIEW
from pixward.image import resize_to
from pixward.params import ParamSpace
from pixward.search.problem import Goal, Look
from pixward.types import Editor

PIXELS = 16 * PREVIEW**2
"""A picture of more photos than have room in it shows them smaller: memory and seconds stay those of sixteen."""
SMALLEST = 96
"""Longest side of a tile that is never gone below: the finest details of a smaller one are gone."""


def tile_side(photos: int) -> int:
    """Longest side of the tiles of a series of ``photos``."""
    return max(SMALLEST, min(PREVIEW, math.floor(math.sqrt(PIXELS / max(1, photos)))))


@dataclass(frozen=True)
class Part:
    """One photo of a series.

    Attributes:
        source: the photo at the size of its tile, ``(1, 3, h, w)`` in [0, 1].
        goal: its goal, of the same shape; None where all share a look.
        editor: what renders it: the same for all, or for raw files in a real editor one for each.
    """

    source: Tensor
    goal: Tensor | Goal | None
    editor: Editor


class SeriesEditor:
    """Renders a picture of many photos, each by itself; made by :func:`series`."""

    def __init__(self, editors: Sequence[Editor], sizes: Sequence[tuple[int, int]]) -> None:
        """``sizes``: (h, w) of each photo's tile; ``editors``: what renders it, all with the same sliders."""
        self.editors, self.sizes = tuple(editors), tuple(sizes)
        self.name: str = editors[0].name
        self.space: ParamSpace = editors[0].space
        self.differentiable = all(editor.differentiable for editor in editors)
        self.cell = (max(h for h, _ in sizes), max(w for _, w in sizes))
        # As near to a square as may be: networks were trained on pictures, not on ribbons.
        wide = math.sqrt(len(sizes) * self.cell[0] / self.cell[1])
        self.columns = max(1, min(len(sizes), round(wide)))
        self.rows = math.ceil(len(sizes) / self.columns)

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        """Render ``images`` ``(B, 3, H, W)``, each a picture as :meth:`lay` makes it, with ``params`` ``(B, d)``."""
        rows = params.expand(images.shape[0], -1)
        tiles: list[Tensor | None] = [None] * len(self.sizes)
        for members in self._groups():
            together = torch.cat([self.cut(images, k) for k in members])
            renders = self.editors[members[0]](together, rows.repeat(len(members), 1))
            for k, render in zip(members, renders.split(images.shape[0]), strict=True):
                tiles[k] = render
        return self.lay([tile for tile in tiles if tile is not None])

    def cut(self, images: Tensor, index: int) -> Tensor:
        """Photo ``index`` of pictures ``(B, C, H, W)``, ``(B, C, h, w)``."""
        (top, left), (height, width) = self._place(index), self.sizes[index]
        return images[:, :, top : top + height, left : left + width]

    def lay(self, tiles: Sequence[Tensor], *, repeat: bool = True) -> Tensor:
        """Tiles ``(B, C, h, w)``, one for each photo, as pictures ``(B, C, H, W)``.

        Tiles that are smaller than a cell are continued by their edge pixels, and cells left over at the end show the
        first photos again, so that nothing in the picture is of no photo; with ``repeat=False`` both are 0.
        """
        height, width = self.cell
        cells = []
        for k in range(self.rows * self.columns):
            tile = tiles[k % len(tiles)]
            mode = "replicate" if repeat else "constant"
            cell = F.pad(tile, (0, width - tile.shape[3], 0, height - tile.shape[2]), mode=mode)
            cells.append(cell if repeat or k < len(tiles) else torch.zeros_like(cell))
        lines = [torch.cat(cells[k : k + self.columns], 3) for k in range(0, len(cells), self.columns)]
        return torch.cat(lines, 2)

    def _place(self, index: int) -> tuple[int, int]:
        return index // self.columns * self.cell[0], index % self.columns * self.cell[1]

    def _groups(self) -> list[list[int]]:
        """Photos of one editor and one size, which can be rendered as one batch."""
        found: dict[tuple[int, tuple[int, int]], list[int]] = {}
        for k, (editor, size) in enumerate(zip(self.editors, self.sizes, strict=True)):
            found.setdefault((id(editor), size), []).append(k)
        return list(found.values())


@dataclass(frozen=True)
class Series:
    """Many photos as one: what :func:`pixward.match.match` takes.

    Attributes:
        source: the picture of all photos, ``(1, 3, H, W)``.
        goal: of all goals, each photo counting alike; or the look that all are to have.
        editor: renders it.
    """

    source: Tensor
    goal: Tensor | Goal | Look
    editor: SeriesEditor


def series(parts: Sequence[Part], look: Tensor | None = None) -> Series:
    """Lay ``parts`` side by side.

    Args:
        parts: the photos, one or more, as small as :func:`tile_side` says.
        look: the picture whose look all are to have, ``(1, 3, h, w)``; the photos *together* are compared with it.

    Raises:
        ValueError: no photo, a photo without a goal, a goal of another shape, editors with different sliders.
    """
    if not parts:
        raise ValueError("a series needs at least one photo")
    if len({part.editor.space.names for part in parts}) > 1:
        raise ValueError("the photos of a series need one editor with the same sliders for all: raw files or pictures")
    for part in parts:
        goal = part.goal.image if isinstance(part.goal, Goal) else part.goal
        if look is None and (goal is None or goal.shape != part.source.shape):
            raise ValueError("every photo of a series needs a goal of its own shape, or all of them one look")
    editor = SeriesEditor(
        [part.editor for part in parts], [(part.source.shape[2], part.source.shape[3]) for part in parts]
    )
    source = editor.lay([part.source for part in parts])
    if look is not None:
        return Series(source, Look(look), editor)
    goal = editor.lay([part.goal.image if isinstance(part.goal, Goal) else _tensor(part.goal) for part in parts])
    weight = editor.lay([_weight(part) for part in parts], repeat=False)
    if bool((weight == weight.flatten()[0]).all()):
        return Series(source, goal, editor)
    return Series(source, Goal(goal, weight), editor)


def reduced(image: Tensor, side: int) -> Tensor:
    """``(1, C, H, W)`` with at most ``side`` pixels on its longest side; never enlarged."""
    height, width = image.shape[2:]
    scale = min(1.0, side / max(height, width))
    return resize_to(image, (max(1, round(height * scale)), max(1, round(width * scale))))


def _tensor(goal: Tensor | Goal | None) -> Tensor:
    assert isinstance(goal, Tensor)  # series() has looked.
    return goal


def _weight(part: Part) -> Tensor:
    """What each pixel counts, ``(1, 1, h, w)``; all together 1 for each photo."""
    height, width = part.source.shape[2:]
    if isinstance(part.goal, Goal):
        return part.goal.weight / part.goal.weight.sum()
    return part.source.new_full((1, 1, height, width), 1 / (height * width))
