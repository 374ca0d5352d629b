"""Non-maximum suppression: of boxes of one class that lie on one another, the surest."""

from __future__ import annotations

from dataclasses import replace

import torch

from pixward.boxes import Boxes
from pixward.metrics.vision import box_iou


def suppress(boxes: Boxes, threshold: float) -> Boxes:
    """``boxes`` with scores, of which those are no longer valid that overlap a surer one of their class too much.

    Args:
        boxes: ``N`` a picture.
        threshold: intersection over union above which the less sure one goes, in [0, 1]; of equals the later one.

    Raises:
        ValueError: boxes without scores.
    """
    if boxes.scores is None:
        raise ValueError("suppression keeps the surest box: give the boxes scores")
    order = torch.where(boxes.valid, boxes.scores, -torch.inf).argsort(dim=1, descending=True, stable=True)
    sorted_boxes = boxes.boxes.gather(1, order[..., None].expand(-1, -1, 4))
    labels, keep = boxes.labels.gather(1, order), boxes.valid.gather(1, order)
    close = (box_iou(sorted_boxes, sorted_boxes) > threshold) & (labels[:, :, None] == labels[:, None])
    for place in range(1, boxes.valid.shape[1]):
        keep[:, place] &= ~(close[:, place, :place] & keep[:, :place]).any(1)
    return replace(boxes, valid=torch.zeros_like(keep).scatter(1, order, keep))
