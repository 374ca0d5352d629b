"""Rewards for what a model finds in pictures: ``(output, target)`` to ``(B,)``; higher is better.

Beyer, Pinto, Kolesnikov et al., "Tuning computer vision models with task rewards" (ICML 2023). Both arguments are
:class:`pixward.boxes.Boxes` or both :class:`pixward.boxes.Segments`. All of it is tensor algebra over the whole batch,
on the device where the boxes are, and nothing of it is differentiable.

Only the reward for detection was ever released, and its file differs from the text: it keeps the results of its ten
thresholds under keys with one decimal, so that 0.55 is overwritten by 0.6 and so on, and it lets every prediction claim
its best object only, so that a crowd is matched short. ``mode="paper_code"`` is equal to that file; ``"paper_text"``,
the default, has ten true thresholds and a one-to-one matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pixward.boxes import Boxes, Segments
from pixward.metrics.vision import box_iou, match_segments

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

# fmt: off
COCO_COUNTS = (
    262465, 7113, 43867, 8725, 5135, 6069, 4571, 9973, 10759, 12884, 1865, 1983, 1285, 9838, 10806, 4768, 5508, 6587,
    9509, 8147, 5513, 1294, 5303, 5131, 8720, 11431, 12354, 6496, 6192, 2682, 6646, 2685, 6347, 9076, 3276, 3747, 5543,
    6126, 4812, 24342, 7913, 20650, 5479, 7770, 6165, 14358, 9458, 5851, 4373, 6399, 7308, 7852, 2918, 5821, 7179, 6353,
    38491, 5779, 8652, 4192, 15714, 4157, 5805, 4970, 2262, 5703, 2855, 6434, 1673, 3334, 225, 5610, 2637, 24715, 6334,
    6613, 1481, 4793, 198, 1954,
)
"""Boxes of each of COCO's 80 classes in train2017."""
# fmt: on


@dataclass(frozen=True)
class DetectionSettings:
    """What a found box earns and what others cost.

    Attributes:
        mode: ``"paper_text"`` or ``"paper_code"``, see above.
        thresholds: a match counts at every one of these that its intersection over union exceeds; the mean is taken.
        duplicate_cost: of a prediction that fits an object which another prediction has got.
        false_positive_cost: of a prediction that fits nothing. The paper has 0: what is not there costs nothing.
        class_weights: what a box of each class counts, in gains and in costs; None for 1 each.
    """

    mode: Literal["paper_text", "paper_code"] = "paper_text"
    thresholds: tuple[float, ...] = THRESHOLDS
    duplicate_cost: float = 0.3
    false_positive_cost: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("paper_text", "paper_code"):
            raise ValueError(f"mode must be paper_text or paper_code, got {self.mode!r}")
        if not self.thresholds or not all(0 <= threshold < 1 for threshold in self.thresholds):
            raise ValueError(f"thresholds must lie in [0, 1), got {self.thresholds}")


@dataclass(frozen=True)
class DetectionOutcome:
    """A detection reward and what it is made of; counts are means over the thresholds, not weighted by class.

    Attributes:
        reward: ``(B,)``.
        matches: ``(B,)``, predictions that have got an object.
        duplicates: ``(B,)``, predictions that fit an object which another one has got.
        false_positives: ``(B,)``, predictions that fit nothing.
        confidence: ``(B, N)`` in [0, 1], what a confidence head should learn to say of each prediction: its
            intersection over union with its object where that exceeds the lowest threshold, else 0. In ``paper_code``
            a duplicate gets that of the object it doubles, as in the released file; in ``paper_text`` it gets 0.
    """

    reward: Tensor
    matches: Tensor
    duplicates: Tensor
    false_positives: Tensor
    confidence: Tensor


def class_weights(counts: Sequence[int], smooth: float = 0.05) -> tuple[float, ...]:
    """Weights of mean 1, higher for rarer classes: the inverse of ``count + smooth * sum``.

    For :data:`COCO_COUNTS` from 0.165 (person) to 1.166 (hair drier).

    Raises:
        ValueError: no counts, or a negative one, or nothing but zeros.
    """
    if not counts or min(counts) < 0 or sum(counts) == 0:
        raise ValueError(f"counts must not be negative and not all zero, got {list(counts)}")
    inverse = [1 / (count + smooth * sum(counts)) for count in counts]
    return tuple(len(inverse) * value / sum(inverse) for value in inverse)


RECALL = DetectionSettings()
MAP = DetectionSettings(class_weights=class_weights(COCO_COUNTS))
"""The paper's for COCO; for other classes give the weights of their own counts."""


def detection_recall(output: Boxes, target: Boxes, settings: DetectionSettings = RECALL) -> Tensor:
    """Objects found minus 0.3 per duplicate, ``(B,)``, the mean over ten thresholds; every class counts the same.

    A sum over objects, not a share: a picture with ten objects can earn ten. Scores are not looked at.

    Raises:
        ValueError: see :func:`detection_outcome`.
    """
    return detection_outcome(output, target, settings).reward


def detection_map(output: Boxes, target: Boxes, settings: DetectionSettings = MAP) -> Tensor:
    """The paper's reward for mean average precision, ``(B,)``: recall with rare classes worth more.

    It is one half of that recipe; the other is a confidence head that learns ``detection_outcome(...).confidence``,
    by which predictions are ranked.

    Raises:
        ValueError: see :func:`detection_outcome`.
    """
    return detection_outcome(output, target, settings).reward


@torch.no_grad()
def detection_outcome(output: Boxes, target: Boxes, settings: DetectionSettings) -> DetectionOutcome:
    """The reward, its parts and the targets of a confidence head.

    In ``paper_text`` pairs of one class are matched in order of their overlap, best first, each prediction and each
    object once. In ``paper_code`` each prediction claims the object it overlaps most with, and each object takes the
    best of its claimants. A prediction that lies by more than half in a crowd of its class costs nothing.

    Raises:
        ValueError: batches of different sizes, NaN, boxes outside [0, 1], labels without a weight; with the item.
    """
    _same_batch(output, target)
    output.check("output")
    target.check("target")
    weights = _weights(output, target, settings)
    objects = target.valid if target.crowd is None else target.valid & ~target.crowd
    same = (output.labels[:, :, None] == target.labels[:, None, :]) & output.valid[:, :, None]
    epsilon = 1e-9 if settings.mode == "paper_code" else 0.0
    iou = box_iou(output.boxes, target.boxes.to(output.boxes), epsilon=epsilon)
    # The lowest threshold decides which pairs can be matched at all; neither matching depends on the others.
    iou = torch.where(same & objects[:, None, :] & (iou > iou.new_tensor(min(settings.thresholds))), iou, 0)
    best = _row_max(iou)
    got = _one_to_one(iou) if settings.mode == "paper_text" else _claimed(iou)
    harmless = _in_crowd(output, target, same)

    limits = iou.new_tensor(_effective(settings))[:, None, None]
    fits = best > limits
    matched = (got > limits).to(iou)
    duplicate = (fits & (got <= limits) & ~harmless).to(iou)
    false = (~fits & output.valid & ~harmless).to(iou)
    value = matched - settings.duplicate_cost * duplicate - settings.false_positive_cost * false
    return DetectionOutcome(
        reward=(value * weights).sum(2).mean(0),
        matches=matched.sum(2).mean(0),
        duplicates=duplicate.sum(2).mean(0),
        false_positives=false.sum(2).mean(0),
        confidence=got if settings.mode == "paper_text" else best,
    )


@torch.no_grad()
def panoptic(output: Segments, target: Segments, cost: float = 0.3) -> Tensor:
    """Sum of the overlaps of matched segments minus ``cost`` per unmatched prediction, ``(B,)``.

    The paper's stand-in for panoptic quality, which does not decompose over pictures. Segments match when they are of
    one class and their intersection over union exceeds 0.5; predictions mostly in void or in a crowd of their class
    cost nothing (:func:`pixward.metrics.vision.match_segments`).

    Raises:
        ValueError: maps of different shapes, an empty map, an id without a segment; with the item.
    """
    match = match_segments(output, target)
    return (match.iou - cost * match.false_positive).sum(1)


def _effective(settings: DetectionSettings) -> list[float]:
    """The thresholds whose results are averaged: in the released file the last one of each one-decimal key."""
    if settings.mode == "paper_text":
        return list(settings.thresholds)
    last = {f"{threshold:.1f}": threshold for threshold in settings.thresholds}
    return [last[f"{threshold:.1f}"] for threshold in settings.thresholds]


def _claimed(iou: Tensor) -> Tensor:
    """``(B, N)``: the overlap of predictions that their own best object takes; ``paper_code``."""
    if not iou.numel():
        return iou.new_zeros(iou.shape[:2])
    value, claim = iou.max(2)
    claims = torch.zeros_like(iou).scatter_(2, claim[:, :, None], value[:, :, None])
    chosen = claims.argmax(1).gather(1, claim) == torch.arange(iou.shape[1], device=iou.device)
    return value * chosen


def _one_to_one(iou: Tensor) -> Tensor:
    """``(B, N)``: the overlap of each prediction with its own object, pairs taken greedily by overlap, best first.

    Pairs that are the best of both their row and their column are taken at once, which gives the same pairs as taking
    the largest of all, one after the other, in far fewer rounds. Of equal overlaps the first row goes first, then the
    first column.
    """
    got = iou.new_zeros(iou.shape[:2])
    if not iou.numel():
        return got
    rows = torch.arange(iou.shape[1], device=iou.device)
    left = iou.clone()
    while bool((left > 0).any()):
        value, claim = left.max(2)
        mutual = (left.argmax(1).gather(1, claim) == rows) & (value > 0)
        got = torch.where(mutual, value, got)
        columns = torch.zeros_like(left[:, 0], dtype=torch.bool).scatter_reduce_(1, claim, mutual, "amax")
        left = left.masked_fill(mutual[:, :, None] | columns[:, None, :], 0)
    return got


def _in_crowd(output: Boxes, target: Boxes, same: Tensor) -> Tensor:
    """``(B, N)``: whether more than half of a prediction lies in a crowd of its class."""
    if target.crowd is None:
        return torch.zeros_like(output.valid)
    share = box_iou(output.boxes, target.boxes.to(output.boxes), over="first")
    return ((share > 0.5) & same & (target.crowd & target.valid)[:, None, :]).any(2)


def _weights(output: Boxes, target: Boxes, settings: DetectionSettings) -> Tensor:
    """``(B, N)``: what each prediction counts; padding 0."""
    if settings.class_weights is None:
        return output.valid.to(output.boxes)
    table = output.boxes.new_tensor(settings.class_weights)
    for name, boxes in (("output", output), ("target", target)):
        unknown = (boxes.labels >= len(table)) & boxes.valid
        if bool(unknown.any()):
            item, index = unknown.nonzero()[0].tolist()
            label = int(boxes.labels[item, index])
            raise ValueError(f"{name}: item {item}, box {index} has class {label}, but there are {len(table)} weights")
    return table[output.labels.clamp(0, len(table) - 1)] * output.valid


def _row_max(values: Tensor) -> Tensor:
    return values.amax(2) if values.shape[2] else values.new_zeros(values.shape[:2])


def _same_batch(output: Boxes, target: Boxes) -> None:
    if len(output) != len(target):
        raise ValueError(f"need one target for each output, got {len(output)} outputs and {len(target)} targets")
