"""Tables of colours: what becomes of a colour, looked up between the entries of a lattice or on three curves.

A table is ``(K, 3, N, N, N)``: table, output channel, then blue, green and red of the input, so that red runs fastest
in memory as it does in ``.cube`` files. Its ends stand for the values 0 and 1; what lies outside goes to the nearest
end, and nothing that comes out is clipped.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Method = Literal["trilinear", "tetrahedral"]
"""How colours between the entries are guessed: from the eight corners around them, or from the four of a tetrahedron
whose long edge is the lattice's grey diagonal, which keeps greys grey wherever the table does."""


def lookup(images: Tensor, table: Tensor, method: Method = "trilinear") -> Tensor:
    """``images`` ``(B, 3, H, W)`` through ``table`` ``(B or 1, 3, N, N, N)``; the shape of ``images``.

    Raises:
        ValueError: an unknown method, or shapes that do not fit.
    """
    if table.ndim != 5 or table.shape[1] != 3 or len(set(table.shape[2:])) != 1 or table.shape[2] < 2:
        raise ValueError(f"a table is (B or 1, 3, N, N, N) with N of 2 or more, got {tuple(table.shape)}")
    if images.ndim != 4 or images.shape[1] != 3 or table.shape[0] not in (1, images.shape[0]):
        raise ValueError(f"images {tuple(images.shape)} do not fit tables {tuple(table.shape)}")
    tables = table.to(images).expand(len(images), -1, -1, -1, -1)
    if method == "trilinear":
        return trilinear(images, tables)
    if method == "tetrahedral":
        return tetrahedral(images, tables)
    raise ValueError(f"unknown method {method!r}: trilinear or tetrahedral")


def trilinear(images: Tensor, table: Tensor) -> Tensor:
    """``images`` ``(B, 3, H, W)`` through ``table`` ``(B, 3, N, N, N)``, from the eight corners around each colour."""
    # grid_sample counts its coordinates (x, y, z) from the last axis and from -1 to 1.
    grid = (images * 2 - 1).permute(0, 2, 3, 1)[:, None]
    return F.grid_sample(table, grid, mode="bilinear", padding_mode="border", align_corners=True)[:, :, 0]


def tetrahedral(images: Tensor, table: Tensor) -> Tensor:
    """``images`` ``(B, 3, H, W)`` through ``table`` ``(B, 3, N, N, N)``, from four corners around each colour.

    From the lower corner one walks along the axis with the largest remainder first, then the next, then the last: four
    corners, weighted by the gaps between the sorted remainders (Sakamoto and Itooka, US patent 4275413, 1981).
    """
    points = table.shape[-1]
    place = images.flatten(2).clamp(0, 1) * (points - 1)  # (B, 3, P): red, green, blue
    corner = place.floor().clamp(max=points - 2)
    rest, axes = (place - corner).sort(dim=1, descending=True)
    steps = torch.tensor([1, points, points * points], device=images.device)
    index = (corner.long() * steps[:, None]).sum(1)
    flat = table.flatten(2)
    weights = [1 - rest[:, 0], rest[:, 0] - rest[:, 1], rest[:, 1] - rest[:, 2], rest[:, 2]]
    out = torch.zeros_like(place)
    for turn, weight in enumerate(weights):
        if turn:
            index = index + steps[axes[:, turn - 1]]
        out += weight[:, None] * flat.gather(2, index[:, None].expand(-1, 3, -1))
    return out.view_as(images)


def curves(images: Tensor, values: Tensor) -> Tensor:
    """``images`` ``(B, 3, H, W)``, each channel along its curve: ``values`` ``(3, N)``, linear between the entries.

    Raises:
        ValueError: shapes that do not fit.
    """
    if values.ndim != 2 or values.shape[0] != 3 or values.shape[1] < 2:
        raise ValueError(f"curves are (3, N) with N of 2 or more, got {tuple(values.shape)}")
    last = values.shape[1] - 1
    values = values.to(images)
    place = images.clamp(0, 1) * last
    lower = place.floor().clamp(max=last - 1)
    index = lower.long().transpose(0, 1).flatten(1)
    low, high = values.gather(1, index), values.gather(1, index + 1)
    shape = (3, images.shape[0], *images.shape[2:])
    return torch.lerp(low.view(shape).transpose(0, 1), high.view(shape).transpose(0, 1), place - lower)


def lattice(points: int) -> Tensor:
    """The colours of a table's entries, ``(points ** 3, 3)`` in [0, 1], red running fastest.

    Raises:
        ValueError: fewer than 2 points.
    """
    if points < 2:
        raise ValueError(f"a table needs 2 points or more on a side, got {points}")
    ramp = torch.linspace(0, 1, points)
    blue, green, red = torch.meshgrid(ramp, ramp, ramp, indexing="ij")
    return torch.stack([red, green, blue], -1).view(-1, 3)


def as_table(colours: Tensor) -> Tensor:
    """What the colours of :func:`lattice` became, ``(N ** 3, 3)``, as a table ``(3, N, N, N)``."""
    points = round(len(colours) ** (1 / 3))
    return colours.T.reshape(3, points, points, points)
