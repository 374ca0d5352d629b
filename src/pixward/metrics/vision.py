"""How good a whole set of predictions is: COCO's mean average precision and panoptic quality.

Both are figures of a corpus, not of a picture: they take everything at once (mean average precision) or add up counts
(panoptic quality). What decomposes over pictures is a reward, in :mod:`pixward.rewards.vision`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pixward.boxes import Boxes, Segments
from pixward.metrics.coco import Detections, DetectionScores, Objects
from pixward.metrics.precision import evaluate


def box_iou(first: Tensor, second: Tensor, over: Literal["union", "first"] = "union", epsilon: float = 0.0) -> Tensor:
    """Overlap of every box of ``first`` ``(B, N, 4)`` with every one of ``second`` ``(B, M, 4)``: ``(B, N, M)``.

    Boxes are ``x0 y0 x1 y1`` in any unit. The intersection is taken over the union or, for crowds, over the first
    box's own area. A box without area, or with its corners in the wrong order, overlaps with nothing.
    ``epsilon`` is added to the denominator, as some implementations do.
    """
    low = torch.maximum(first[:, :, None, :2], second[:, None, :, :2])
    high = torch.minimum(first[:, :, None, 2:], second[:, None, :, 2:])
    inside = (high - low).clamp_min(0).prod(3)
    area = (first[..., 2:] - first[..., :2]).prod(2).abs()[:, :, None]
    if over == "union":
        area = area + (second[..., 2:] - second[..., :2]).prod(2).abs()[:, None, :] - inside
    area = area + epsilon
    return torch.where(area > 0, inside / area.clamp_min(torch.finfo(area.dtype).tiny), 0)


def coco_map(output: Boxes, target: Boxes, sizes: Tensor | None = None) -> DetectionScores:
    """COCO's twelve figures for a whole set of pictures, as pycocotools computes them.

    Args:
        output: predictions; without scores all are equally sure, and their order decides.
        target: true boxes, crowds included.
        sizes: ``(B, 2)`` height and width of each picture in pixels. Without them there are no small, medium and large
            boxes, and those six figures are -1.

    Raises:
        ValueError: batches of different sizes, NaN, boxes outside [0, 1], bad sizes; with the item.
    """
    if len(output) != len(target):
        raise ValueError(f"need one target for each output, got {len(output)} outputs and {len(target)} targets")
    output.check("output")
    target.check("target")
    if sizes is not None and (sizes.shape != (len(output), 2) or not bool((sizes > 0).all())):
        raise ValueError(f"sizes must be ({len(output)}, 2), height and width above 0, got {tuple(sizes.shape)}")
    scores = output.scores if output.scores is not None else torch.ones_like(output.boxes[..., 0])
    crowd = target.crowd if target.crowd is not None else torch.zeros_like(target.valid)
    image, label, box = _flat(output, sizes)
    detections = Detections(image, label, box, _numpy(scores[output.valid]).astype(np.float64))
    image, label, box = _flat(target, sizes)
    result = evaluate(detections, Objects(image, label, box, box[:, 2] * box[:, 3], _numpy(crowd[target.valid])))
    if sizes is None:
        none = {f"{kind}_{size}": -1.0 for kind in ("ap", "ar") for size in ("small", "medium", "large")}
        result = replace(result, **none)
    return result


@dataclass(frozen=True)
class SegmentMatch:
    """How predicted and true segments of each picture correspond.

    Attributes:
        iou: ``(B, P)`` float64, overlap of each prediction with its true segment, 0 where it has none.
        false_positive: ``(B, P)`` bool, predictions without a true segment, but for those mostly in void or crowd.
        false_negative: ``(B, S)`` bool, true segments without a prediction; crowds never are.
    """

    iou: Tensor
    false_positive: Tensor
    false_negative: Tensor


@torch.no_grad()
def match_segments(output: Segments, target: Segments, forgive_blank: bool = False) -> SegmentMatch:
    """Match segments of one class whose intersection over union exceeds 0.5; at that, a match is unique.

    Kirillov et al., "Panoptic Segmentation" (CVPR 2019), as COCO's panopticapi does it: pixels that are void in the
    target count for no union, and a prediction of which more than half is void or in a crowd of its class is no false
    positive.

    Args:
        output: predicted maps.
        target: true maps of the same size.
        forgive_blank: what torchmetrics does beyond that: pixels that the *prediction* leaves void count for no union
            either, and an object that is left mostly blank is no false negative. A model can earn by silence so.

    Raises:
        ValueError: maps of different shapes, an empty map, an id without a segment; with the item.
    """
    if output.ids.shape != target.ids.shape:
        raise ValueError(f"maps must have one shape, got {tuple(output.ids.shape)} and {tuple(target.ids.shape)}")
    output.check("output")
    target.check("target")
    count, p, s = len(output), output.labels.shape[1] + 1, target.labels.shape[1] + 1
    place = torch.arange(count, device=output.ids.device)[:, None, None] * (p * s)
    index = place + output.ids * s + target.ids
    # Pixels shared by each predicted (0: void) and each true segment, (B, P + 1, S + 1).
    shared = torch.bincount(index.flatten(), minlength=count * p * s).view(count, p, s).double()
    said, true = shared.sum(2, keepdim=True)[:, 1:], shared.sum(1, keepdim=True)[:, :, 1:]
    void, blank = shared[:, 1:, :1], shared[:, :1, 1:]
    pairs = shared[:, 1:, 1:]
    union = said - void + true - pairs - (blank if forgive_blank else 0)
    crowd = target.crowd if target.crowd is not None else torch.zeros_like(target.valid)
    same = output.labels[:, :, None] == target.labels[:, None, :]
    iou = torch.where(same & ~crowd[:, None, :] & (pairs > 0), pairs / union.clamp_min(1), 0)
    iou = torch.where(iou > 0.5, iou, 0)
    harmless = (void[..., 0] + (pairs * (same & crowd[:, None, :])).sum(2)) > 0.5 * said[..., 0]
    matched = iou.sum(2)
    missed = (true[:, 0] > 0) & ~(iou > 0).any(1) & ~crowd
    if forgive_blank:
        missed &= blank[:, 0] <= 0.5 * true[:, 0]
    return SegmentMatch(matched, (said[..., 0] > 0) & (matched == 0) & ~harmless, missed)


@dataclass(frozen=True)
class PanopticCounts:
    """What panoptic quality is computed from, ``(C,)`` float64 each; add those of all batches with ``+``."""

    iou: Tensor
    true_positives: Tensor
    false_positives: Tensor
    false_negatives: Tensor

    def __add__(self, other: PanopticCounts) -> PanopticCounts:
        return PanopticCounts(
            self.iou + other.iou,
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )


@dataclass(frozen=True)
class PanopticQuality:
    """Panoptic quality, and its factors segmentation and recognition quality, in [0, 1].

    Attributes:
        pq: mean over the classes that occur in predictions or targets; 0 where none does.
        sq: mean overlap of matched segments.
        rq: F1 of matching.
        by_class: ``(C, 3)``, the three for each class; 0 for classes that do not occur.
    """

    pq: float
    sq: float
    rq: float
    by_class: Tensor


def panoptic_counts(output: Segments, target: Segments, classes: int, forgive_blank: bool = False) -> PanopticCounts:
    """The counts of one batch, labels below ``classes``; see :func:`match_segments`.

    Raises:
        ValueError: as there, and a label of ``classes`` or more, with its item.
    """
    match = match_segments(output, target, forgive_blank)
    for name, segments in (("output", output), ("target", target)):
        unknown = (segments.labels >= classes) & segments.valid
        if bool(unknown.any()):
            item, index = unknown.nonzero()[0].tolist()
            label = int(segments.labels[item, index])
            raise ValueError(f"{name}: item {item}, segment {index + 1} has class {label} of {classes}")

    def by_class(values: Tensor, labels: Tensor) -> Tensor:
        known = labels.clamp(0, classes - 1).flatten()  # padding may hold any label; its value is 0
        return torch.zeros(classes, dtype=torch.float64, device=values.device).index_add_(0, known, values.flatten())

    return PanopticCounts(
        by_class(match.iou, output.labels),
        by_class((match.iou > 0).double(), output.labels),
        by_class(match.false_positive.double(), output.labels),
        by_class(match.false_negative.double(), target.labels),
    )


def panoptic_quality(counts: PanopticCounts) -> PanopticQuality:
    """Panoptic quality of everything that was counted."""
    total = counts.true_positives + (counts.false_positives + counts.false_negatives) / 2
    sq = counts.iou / counts.true_positives.clamp_min(1)
    rq = torch.where(total > 0, counts.true_positives / total.clamp_min(0.5), 0)
    by_class = torch.stack([sq * rq, sq, rq], 1)
    known = by_class[total > 0]
    pq, sq_mean, rq_mean = known.mean(0).tolist() if len(known) else (0.0, 0.0, 0.0)
    return PanopticQuality(pq, sq_mean, rq_mean, by_class)


def _flat(boxes: Boxes, sizes: Tensor | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, class and ``x y width height`` (pixels where sizes are known) of every valid box."""
    image = boxes.valid.nonzero()[:, 0]
    corners = boxes.boxes[boxes.valid].double()
    if sizes is not None:
        corners = corners * sizes.to(corners)[image][:, [1, 0, 1, 0]]
    box = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    return _numpy(image), _numpy(boxes.labels[boxes.valid]), _numpy(box)


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
