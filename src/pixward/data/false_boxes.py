"""Boxes that are wrong on purpose, mixed into the true ones, so that a confidence is learnt from the first step on.

A model that has only seen true boxes has never said "wrong" when rewards begin, and then the loss of its confidence
outweighs everything else. Pix2seq (Chen et al., ICLR 2022) appends noise boxes for a like reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pixward.boxes import Boxes
from pixward.data.tokens import BoxTokens

_SPREAD = 0.25  # the largest standard deviation of a jittered corner, as a share of the box's side


@dataclass(frozen=True)
class Lesson:
    """Sequences to learn from by likelihood.

    Attributes:
        tokens: ``(B, length)``.
        weights: of each token, ``(B, length)`` float: 0 for coordinates and class of a box that is not true, else 1.
        confidence: how sure one should be of each box, ``(B, boxes)`` float in [0, 1], 0 where there is none.
        valid: which boxes there are, ``(B, boxes)`` bool.
    """

    tokens: Tensor
    weights: Tensor
    confidence: Tensor
    valid: Tensor


def lesson(
    kind: BoxTokens,
    boxes: Boxes,
    generator: torch.Generator | None = None,
    *,
    jittered: float = 0.3,
    extra: int = 4,
) -> Lesson:
    """True and false boxes in random order; see :func:`false_boxes`. False ones are left out where there is no room.

    The token of confidence is "right" for what should be trusted by more than half.
    """
    both, true = false_boxes(boxes, kind.classes, generator, jittered=jittered, extra=extra)
    room = both.valid & (both.valid.long().cumsum(1) <= kind.boxes)
    both = Boxes(both.boxes, both.labels, torch.where(true, both.valid, room), both.scores, both.crowd)
    arranged, places = kind.arrange(both, "random", generator)
    assert arranged.scores is not None
    tokens = kind.encode(arranged, right=arranged.scores > 0.5)
    false = arranged.valid & ~true.gather(1, places)
    columns = torch.tensor([1.0, 1, 1, 1, 1, 0], dtype=arranged.scores.dtype, device=tokens.device)
    weights = 1 - _fit(false.to(columns), kind.boxes)[..., None] * columns
    confidence = torch.where(arranged.valid, arranged.scores, 0.0)
    valid = _fit(arranged.valid.to(columns), kind.boxes).bool()
    return Lesson(tokens, weights.flatten(1), _fit(confidence, kind.boxes), valid)


def false_boxes(
    boxes: Boxes, classes: int, generator: torch.Generator | None = None, *, jittered: float = 0.3, extra: int = 4
) -> tuple[Boxes, Tensor]:
    """True boxes, some moved, and boxes of nothing after them.

    Of the extra boxes a third are copies of a true box, which a metric counts as false, a third have its place but
    another class, the rest lie anywhere. In a picture without boxes all lie anywhere.

    Args:
        boxes: ``N`` true boxes a picture.
        classes: how many there are.
        generator: on the CPU.
        jittered: share of the true boxes that are moved.
        extra: boxes of nothing, for each picture.

    Returns:
        ``N + extra`` boxes a picture whose ``scores`` are what a confidence should say: 1 for a true box, IoU with its
        truth for a moved one (0 up to 0.5), 0 for others; and which of them are true, ``(B, N + extra)`` bool. Only
        these should be learnt, of all others only the confidence.
    """
    corners, count = boxes.boxes, boxes.boxes.shape[:2]
    moved = boxes.valid & _uniform(count, generator, corners).lt(jittered)
    there = _jitter(corners, generator)
    near = torch.where(moved[..., None], there, corners)
    overlap = _iou(near, corners)
    quality = torch.where(moved, torch.where(overlap > 0.5, overlap, 0.0), boxes.valid.to(corners))

    shape = (count[0], extra)
    kind = _uniform(shape, generator, corners)
    # One of the valid boxes: the highest of random numbers, where those of padding are negative.
    lottery = torch.rand(count[0], extra, max(1, count[1]), generator=generator).to(corners)
    if count[1]:
        picked = torch.where(boxes.valid[:, None], lottery, -1.0).argmax(2)
        source = corners.gather(1, picked[..., None].expand(-1, -1, 4))
        label = boxes.labels.gather(1, picked)
    else:
        source, label = corners.new_zeros(*shape, 4), boxes.labels.new_zeros(shape)
    bound = boxes.valid.any(1, keepdim=True) & (kind < 2 / 3)
    spots = torch.rand(*shape, 2, 2, generator=generator).to(corners).sort(2).values.flatten(2)
    place = torch.where(bound[..., None], _jitter(source, generator, 0.3), spots)
    other = torch.randint(1, max(2, classes), shape, generator=generator).to(label)
    drawn = torch.randint(classes, shape, generator=generator).to(label)
    label = torch.where(bound, torch.where(kind < 1 / 3, label, (label + other) % classes), drawn)
    both = Boxes(
        torch.cat([near, place], 1),
        torch.cat([boxes.labels, label], 1),
        torch.cat([boxes.valid, boxes.valid.new_ones(shape)], 1),
        torch.cat([quality, quality.new_zeros(shape)], 1),
        None if boxes.crowd is None else torch.cat([boxes.crowd, boxes.crowd.new_zeros(shape)], 1),
    )
    return both, torch.cat([boxes.valid & ~moved, boxes.valid.new_zeros(shape)], 1)


def _jitter(corners: Tensor, generator: torch.Generator | None, scale: float = 1.0) -> Tensor:
    """Every corner moved by its own normal number, each box by a spread of its own; in order and in [0, 1]."""
    sides = (corners[..., 2:] - corners[..., :2]).repeat(1, 1, 2)
    spread = _SPREAD * scale * torch.rand(*corners.shape[:2], 1, generator=generator).to(corners)
    moved = corners + sides * spread * torch.randn(corners.shape, generator=generator).to(corners)
    return moved.clamp(0, 1).unflatten(2, (2, 2)).sort(2).values.flatten(2)


def _iou(first: Tensor, second: Tensor) -> Tensor:
    """Row by row, ``(B, N)``; 0 where both are empty."""
    sides = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    common = sides.clamp_min(0).prod(2)
    areas = sum((box[..., 2:] - box[..., :2]).prod(2) for box in (first, second))
    return common / (areas - common).clamp_min(1e-12)


def _uniform(shape: tuple[int, ...] | torch.Size, generator: torch.Generator | None, like: Tensor) -> Tensor:
    return torch.rand(shape, generator=generator).to(like)


def _fit(values: Tensor, columns: int) -> Tensor:
    """``(B, N)`` cut or filled with zeros to ``(B, columns)``."""
    return torch.nn.functional.pad(values[:, :columns], (0, max(0, columns - values.shape[1])))
