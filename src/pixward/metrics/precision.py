"""Average precision and recall of detections, as pycocotools' ``COCOeval`` computes them (boxes, its own settings).

Crowds, objects outside a range of sizes and ties included, without its loops in Python over thresholds, detections
and objects.
"""

from __future__ import annotations

import math

import numpy as np

from pixward.metrics.coco import Detections, DetectionScores, Objects

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREAS = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""All, small, medium, large; in square pixels, both ends included."""
MOST = (1, 10, 100)
"""How many detections of a class are looked at in a picture."""


def evaluate(detections: Detections, objects: Objects) -> DetectionScores:
    """COCO's figures, equal to those of :func:`pixward.metrics.coco.evaluate_with_pycocotools`."""
    detections, rank = _ranked(detections)
    matched, ignored = _match(detections, objects)
    out = (objects.area[:, None] < AREAS[:, 0]) | (objects.area[:, None] > AREAS[:, 1])
    skipped = out | objects.crowd[:, None]
    labels = np.unique(objects.label)
    precision = np.full((len(labels), len(AREAS), len(THRESHOLDS), len(RECALLS)), -1.0)
    recall = np.full((len(labels), len(AREAS), len(MOST), len(THRESHOLDS)), -1.0)
    for k, label in enumerate(labels):
        total = (~skipped[objects.label == label]).sum(0)
        mine = np.flatnonzero(detections.label == label)
        # Within a class pycocotools goes by score, then picture, then place in the picture: `mine` is in that order
        # but for the score.
        mine = mine[np.argsort(-detections.score[mine], kind="stable")]
        hits, counted = matched[mine] & ~ignored[mine], ~ignored[mine]
        for a in np.flatnonzero(total):
            precision[k, a] = _precision(hits[:, a], counted[:, a], total[a])
            for m, most in enumerate(MOST):
                recall[k, a, m] = hits[rank[mine] < most, a].sum(0) / total[a]
    half, three_quarters = 0, 5
    return DetectionScores(
        ap=_mean(precision[:, 0]),
        ap50=_mean(precision[:, 0, half]),
        ap75=_mean(precision[:, 0, three_quarters]),
        ap_small=_mean(precision[:, 1]),
        ap_medium=_mean(precision[:, 2]),
        ap_large=_mean(precision[:, 3]),
        ar1=_mean(recall[:, 0, 0]),
        ar10=_mean(recall[:, 0, 1]),
        ar100=_mean(recall[:, 0, 2]),
        ar_small=_mean(recall[:, 1, 2]),
        ar_medium=_mean(recall[:, 2, 2]),
        ar_large=_mean(recall[:, 3, 2]),
    )


def _ranked(detections: Detections) -> tuple[Detections, np.ndarray]:
    """By class, picture and falling score, at most 100 of a class in a picture; with the place within the picture."""
    order = np.lexsort((-detections.score, detections.image, detections.label))
    image, label = detections.image[order], detections.label[order]
    first = np.ones(len(order), bool)
    first[1:] = (image[1:] != image[:-1]) | (label[1:] != label[:-1])
    place = np.arange(len(order))
    rank = place - np.maximum.accumulate(np.where(first, place, 0))
    kept = order[rank < MOST[-1]]
    part = Detections(detections.image[kept], detections.label[kept], detections.box[kept], detections.score[kept])
    return part, rank[rank < MOST[-1]]


def _match(detections: Detections, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
    """Whether each detection has got an object and whether it counts for nothing, ``(n, areas, thresholds)`` each."""
    shape = (len(detections.score), len(AREAS), len(THRESHOLDS))
    matched, ignored = np.zeros(shape, bool), np.zeros(shape, bool)
    for rows, columns in _pairs(detections, objects):
        boxes, truths = detections.box[rows], objects.box[columns]
        crowd = objects.crowd[columns] & (columns >= 0)
        iou = np.where(columns[:, None, :] >= 0, _iou(boxes, truths, crowd), -1.0)
        area = objects.area[columns][:, None, :]
        out = (area < AREAS[:, :1]) | (area > AREAS[:, 1:])
        hit, skip = _greedy(iou, crowd, out | crowd[:, None, :])
        matched[rows[rows >= 0]] = hit[rows >= 0]
        ignored[rows[rows >= 0]] = skip[rows >= 0]
    area = (detections.box[:, 2] * detections.box[:, 3])[:, None]
    out = (area < AREAS[:, 0]) | (area > AREAS[:, 1])
    return matched, ignored | (~matched & out[:, :, None])


def _pairs(detections: Detections, objects: Objects) -> list[tuple[np.ndarray, np.ndarray]]:
    """Detections and objects of one class in one picture, ``(pairs, D)`` and ``(pairs, G)`` indices, -1 for padding.

    Pairs of like size share a block, so that little of it is padding.
    """
    groups: dict[tuple[int, int], list[list[int]]] = {}
    for index, (label, image) in enumerate(zip(objects.label.tolist(), objects.image.tolist(), strict=True)):
        groups.setdefault((label, image), []).append([index])
    found: dict[tuple[int, int], list[int]] = {}
    for index, (label, image) in enumerate(zip(detections.label.tolist(), detections.image.tolist(), strict=True)):
        found.setdefault((label, image), []).append(index)
    blocks: dict[tuple[int, int], list[tuple[list[int], list[int]]]] = {}
    for key in found.keys() & groups.keys():
        rows, columns = found[key], [index for (index,) in groups[key]]
        size = (math.ceil(math.log2(len(rows))), math.ceil(math.log2(len(columns))))
        blocks.setdefault(size, []).append((rows, columns))
    return [
        (_padded([rows for rows, _ in block]), _padded([columns for _, columns in block])) for block in blocks.values()
    ]


def _padded(lists: list[list[int]]) -> np.ndarray:
    width = max(len(row) for row in lists)
    return np.array([row + [-1] * (width - len(row)) for row in lists])


def _iou(boxes: np.ndarray, truths: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """``(pairs, D, G)``; over the detection's own area where the object is a crowd."""
    left, right = boxes[:, :, None], truths[:, None, :]
    width = np.minimum(left[..., 0] + left[..., 2], right[..., 0] + right[..., 2]) - np.maximum(
        left[..., 0], right[..., 0]
    )
    height = np.minimum(left[..., 1] + left[..., 3], right[..., 1] + right[..., 3]) - np.maximum(
        left[..., 1], right[..., 1]
    )
    inside = np.where((width > 0) & (height > 0), width * height, 0)
    own, other = left[..., 2] * left[..., 3], right[..., 2] * right[..., 3]
    union = np.where(crowd[:, None, :], own, own + other - inside)
    return np.divide(inside, union, out=np.zeros_like(inside), where=inside > 0)


def _greedy(iou: np.ndarray, crowd: np.ndarray, skipped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Surest detection first, each takes the object that it overlaps most, for every area and threshold at once.

    Objects that count come before those that do not; of equal overlaps the last object is taken; crowds are never used
    up.

    Args:
        iou: ``(pairs, D, G)``, negative for padding.
        crowd: ``(pairs, G)``.
        skipped: ``(pairs, areas, G)``, objects that count for nothing.

    Returns:
        Whether matched and whether matched to a skipped object, ``(pairs, D, areas, thresholds)``.
    """
    pairs, count, width = iou.shape
    free = np.ones((pairs, len(AREAS), len(THRESHOLDS), width), bool)
    hit = np.zeros((pairs, count, len(AREAS), len(THRESHOLDS)), bool)
    skip = np.zeros_like(hit)
    skipped = skipped[:, :, None, :]
    limits = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    for d in range(count):
        here = iou[:, d, None, None, :]
        able = free & (here >= limits)
        proper = able & ~skipped
        any_proper = proper.any(3, keepdims=True)
        value = np.where(np.where(any_proper, proper, able), here, -1.0)
        chosen = (width - 1 - value[..., ::-1].argmax(3))[..., None]
        found = np.take_along_axis(value, chosen, 3) >= 0
        hit[:, d] = found[..., 0]
        skip[:, d] = (found & ~any_proper)[..., 0]
        used = found & (np.arange(width) == chosen) & ~crowd[:, None, None, :]
        free &= ~used
    return hit, skip


def _precision(hits: np.ndarray, counted: np.ndarray, total: int) -> np.ndarray:
    """Precision at 101 recalls, ``(thresholds, 101)``; ``hits`` and ``counted`` are ``(n, thresholds)``."""
    found, wrong = hits.cumsum(0).astype(float), (counted & ~hits).cumsum(0).astype(float)
    recall = found / total
    precision = found / (found + wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1], 0)[::-1]
    curves = np.zeros((len(THRESHOLDS), len(RECALLS)))
    for t in range(len(THRESHOLDS)):
        place = np.searchsorted(recall[:, t], RECALLS, side="left")
        reached = place < len(recall)
        curves[t, reached] = precision[place[reached], t]
    return curves


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0
