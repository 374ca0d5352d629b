"""Panoptic maps in three forms: segments, COCO's coloured PNG, and a class map beside a map of instances."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pixward.boxes import Segments

VOID = -1
"""The class of a pixel that belongs to nothing."""

_FEW = 1000  # with larger numbers of objects it pays to number them anew: tables have a row for each


def colours_to_ids(pixels: np.ndarray) -> np.ndarray:
    """COCO's PNG ``(H, W, 3)`` uint8 to segment ids ``(H, W)`` int64: ``R + 256 G + 65536 B``; 0 is void."""
    wide = pixels.astype(np.int64)
    return wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]


def ids_to_colours(ids: np.ndarray) -> np.ndarray:
    """Segment ids ``(H, W)``, 0 to 2^24 - 1, to the pixels of COCO's PNG, ``(H, W, 3)`` uint8.

    Raises:
        ValueError: an id outside that range.
    """
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError(f"ids must lie in 0 ... 2^24 - 1, got {ids.min()} ... {ids.max()}")
    return np.stack([ids & 255, (ids >> 8) & 255, (ids >> 16) & 255], -1).astype(np.uint8)


def split_segments(segments: Segments, things: Tensor) -> tuple[Tensor, Tensor]:
    """What a panoptic network draws: the class of each pixel, and which object of the picture it belongs to.

    Args:
        segments: of ``B`` pictures.
        things: ``(C,)`` bool, which classes come in objects; the others are stuff.

    Returns:
        classes ``(B, H, W)`` int64, :data:`VOID` where there is none, and objects ``(B, H, W)`` int64: 1, 2, ... in the
        order of the segments, 0 for stuff and void.
    """
    labels = torch.where(segments.valid, segments.labels, VOID)
    objects = segments.valid & things.to(labels.device)[labels.clamp_min(0)]
    numbers = torch.where(objects, objects.long().cumsum(1), 0)
    return _look_up(labels, segments.ids, VOID), _look_up(numbers, segments.ids, 0)


def join_segments(classes: Tensor, objects: Tensor, things: Tensor, least: int = 1) -> Segments:
    """The inverse of :func:`split_segments`, for what a network drew: every object gets one class, that of most weight.

    Without that, a pixel of another class inside an object would be an object of its own, and panoptic quality falls
    to nothing. An object's pixels are those of its number whose own class is a thing; a pixel of a thing without an
    object is void; each class of stuff is one segment.

    Args:
        classes: ``(B, H, W)`` int64 with :data:`VOID`, or scores of each class ``(B, C, H, W)``, which are added up.
        objects: ``(B, H, W)`` int64 from 0.
        things: ``(C,)`` bool.
        least: pixels; smaller segments become void.
    """
    things = things.to(classes.device)
    count, kinds = len(classes), len(things)
    best = classes.argmax(1) if classes.is_floating_point() else classes
    thing = (best >= 0) & things[best.clamp_min(0)]
    # Each pixel's segment: 0 for none, then the objects, then the classes of stuff.
    owners = torch.where(thing, objects, 0)
    if owners.numel() and int(owners.amax()) > _FEW:
        owners = torch.cat([owners.new_zeros(1), owners.flatten()]).unique(return_inverse=True)[1][1:].view_as(owners)
    many = int(owners.amax()) if owners.numel() else 0
    wanted = torch.where(thing | (best < 0), owners, many + 1 + best)
    columns = many + 1 + kinds
    index = (wanted + columns * torch.arange(count, device=best.device)[:, None, None]).flatten(1)
    there = index.flatten().bincount(minlength=count * columns).view(count, columns) >= max(least, 1)
    there[:, 0] = False
    labels = torch.arange(columns, device=best.device).sub(many + 1).expand(count, -1).clone()
    labels[:, 1 : many + 1] = _weightiest(classes, owners, things, many)
    # Segments that are there move to the front.
    width = max(1, int(there.sum(1).amax())) if count else 1
    order = (~there).long().argsort(stable=True, dim=1)[:, :width]
    valid = there.gather(1, order)
    numbers = torch.where(there, there.long().cumsum(1), 0)
    ids = numbers.flatten()[index].view_as(best)
    return Segments(ids, torch.where(valid, labels.gather(1, order), 0), valid)


def _weightiest(classes: Tensor, owners: Tensor, things: Tensor, many: int) -> Tensor:
    """The thing with the largest sum of scores, or of pixels, in each object 1 ... ``many``: ``(B, many)``."""
    count, kinds = len(classes), len(things)
    if classes.is_floating_point():
        own = owners.flatten(1)[:, None].expand(-1, kinds, -1)
        weights = classes.new_zeros(count, kinds, many + 1).scatter_add_(2, own, classes.flatten(2)).transpose(1, 2)
    else:
        place = owners + (many + 1) * torch.arange(count, device=owners.device)[:, None, None]
        pairs = (place * kinds + classes.clamp_min(0)).flatten()
        weights = pairs.bincount(minlength=count * (many + 1) * kinds).view(count, many + 1, kinds).double()
    return weights[:, 1:].masked_fill(~things, -torch.inf).argmax(2)


def _look_up(values: Tensor, ids: Tensor, void: int) -> Tensor:
    """Column ``k - 1`` of ``values`` ``(B, S)`` for each pixel of id ``k``, ``void`` for 0."""
    table = torch.nn.functional.pad(values, (1, 0), value=void)
    return table.gather(1, ids.flatten(1)).view_as(ids)
