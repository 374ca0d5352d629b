"""Cutting a picture into overlapping tiles, so that what happens at a tile's rim does not show."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """One tile: rows and columns of the picture.

    Attributes:
        seen: what is computed: the core and up to ``halo`` pixels around it, less at the picture's border.
        core: what is kept of it; the cores of all tiles cover the picture once.
        inner: the core, counted within ``seen``.
    """

    seen: tuple[slice, slice]
    core: tuple[slice, slice]
    inner: tuple[slice, slice]


def tiles(size: tuple[int, int], halo: int, pixels: int) -> Iterator[Tile]:
    """Tiles of a picture of ``size`` (height, width) that see at most about ``pixels`` pixels each.

    One tile where the picture is that small. All begin at even pixels. Cores are at least as wide as the halo, so a
    small budget is exceeded.
    """
    height, width = size
    if height * width <= pixels:
        rows, columns = [slice(0, height)], [slice(0, width)]
    else:
        side = max(halo, 16, int(pixels**0.5) - 2 * halo)
        rows, columns = _parts(height, side), _parts(width, side)
    for row in rows:
        for column in columns:
            seen_row, inner_row = _grown(row, height, halo)
            seen_column, inner_column = _grown(column, width, halo)
            yield Tile((seen_row, seen_column), (row, column), (inner_row, inner_column))


def _parts(length: int, side: int) -> list[slice]:
    """``length`` in equal parts of about ``side``."""
    count = max(1, -(-length // side))
    # Even, since a network at half the resolution pairs rows and columns from the picture's first one.
    edges = [length * k // count // 2 * 2 for k in range(count)] + [length]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _grown(part: slice, length: int, halo: int) -> tuple[slice, slice]:
    halo += halo % 2
    start, stop = max(0, part.start - halo), min(length, part.stop + halo)
    return slice(start, stop), slice(part.start - start, part.stop - start)
