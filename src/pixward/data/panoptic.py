"""Panoptic maps in three forms: segments, COCO's coloured PNG, and a class map beside a map of instances."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pixward.boxes import Segments

VOID = -1
"""The class of a pixel that belongs to nothing."""


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
    if classes.is_floating_point():
        scores, best = classes, classes.argmax(1)
    else:
        scores = torch.nn.functional.one_hot(classes.clamp_min(0), len(things)).movedim(3, 1).float()
        best = classes
    thing = (best >= 0) & things[best.clamp_min(0)]
    found, labels = [], []
    for item in range(len(best)):
        ids, row = torch.zeros_like(best[item]), []
        owners = torch.where(thing[item], objects[item], 0)
        parts = [(owners == k, None) for k in owners.unique().tolist() if k > 0]
        parts += [(best[item] == c, c) for c in best[item][~thing[item]].unique().tolist() if c >= 0]
        for mask, label in parts:
            if int(mask.sum()) >= least:
                if label is None:
                    weight = scores[item][:, mask].sum(1).masked_fill(~things, -torch.inf)
                    label = int(weight.argmax())
                row.append(label)
                ids[mask] = len(row)
        found.append(ids)
        labels.append(row)
    width = max(1, *(len(row) for row in labels)) if labels else 1
    padded = torch.tensor([row + [0] * (width - len(row)) for row in labels], device=best.device).view(-1, width)
    valid = torch.tensor([[k < len(row) for k in range(width)] for row in labels], device=best.device).view(-1, width)
    return Segments(torch.stack(found), padded.long(), valid)


def _look_up(values: Tensor, ids: Tensor, void: int) -> Tensor:
    """Column ``k - 1`` of ``values`` ``(B, S)`` for each pixel of id ``k``, ``void`` for 0."""
    table = torch.nn.functional.pad(values, (1, 0), value=void)
    return table.gather(1, ids.flatten(1)).view_as(ids)
