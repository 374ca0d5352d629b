"""Boxes of a whole set of pictures in flat arrays: from COCO's JSON, and through pycocotools for comparison."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Detections:
    """Predicted boxes of all pictures.

    Attributes:
        image: ``(n,)`` integers, which picture.
        label: ``(n,)`` integers, which class.
        box: ``(n, 4)`` float64, ``x y width height``.
        score: ``(n,)`` float64, higher is surer; equal ones keep their order.
    """

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class Objects:
    """True boxes of all pictures.

    Attributes:
        image: ``(m,)`` integers, which picture.
        label: ``(m,)`` integers, which class.
        box: ``(m, 4)`` float64, ``x y width height``.
        area: ``(m,)`` float64; COCO's own is the area of the mask, not of the box.
        crowd: ``(m,)`` bool.
    """

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    area: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True)
class DetectionScores:
    """COCO's twelve figures, each in [0, 1], or -1 where there is no object to find.

    Average precision: over ten thresholds, at 0.5, at 0.75, by size of the object; average recall: with 1, 10 and 100
    detections of a class per picture, by size.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float


def read_coco(annotations: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> tuple[Detections, Objects]:
    """From COCO's JSON: an instances file and a results file, both loaded.

    Raises:
        ValueError: a key that is missing, a box that is not four finite numbers, a score that is none, or a result for
            a picture that the annotations do not have; with the entry.
    """
    pictures = {_entry(image, "id", f"image {i}") for i, image in enumerate(_entry(annotations, "images", "the file"))}
    truths = _entry(annotations, "annotations", "the file")
    for kind, entries in (("annotation", truths), ("result", results)):
        for i, entry in enumerate(entries):
            if _entry(entry, "image_id", f"{kind} {i}") not in pictures:
                raise ValueError(f"{kind} {i} is of image {entry['image_id']}, which the annotations do not list")
            box = _entry(entry, "bbox", f"{kind} {i}")
            if len(box) != 4 or not all(isinstance(v, int | float) and math.isfinite(v) for v in box):
                raise ValueError(f"{kind} {i}: bbox must be four finite numbers x y width height, got {box}")
            if kind == "result" and not math.isfinite(_entry(entry, "score", f"{kind} {i}")):
                raise ValueError(f"{kind} {i}: score must be a finite number, got {entry['score']}")
            _entry(entry, "category_id", f"{kind} {i}")
    detections = Detections(*_columns(results), np.array([entry["score"] for entry in results], float))
    image, label, box = _columns(truths)
    area = [entry.get("area", entry["bbox"][2] * entry["bbox"][3]) for entry in truths]
    crowd = np.array([entry.get("iscrowd", 0) for entry in truths], bool)
    return detections, Objects(image, label, box, np.array(area, float), crowd)


def evaluate_with_pycocotools(detections: Detections, objects: Objects) -> DetectionScores:
    """The same by pycocotools itself.

    Raises:
        ImportError: pycocotools is missing.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ImportError("pycocotools is missing: pip install 'pixward[vision]'") from error
    truth = COCO()
    images = np.unique(np.concatenate([detections.image, objects.image])).tolist()
    truth.dataset = {
        "images": [{"id": image} for image in images],
        "categories": [{"id": label} for label in np.unique(objects.label).tolist()],
        # pycocotools takes an id of 0 for no match, so they count from 1.
        "annotations": [
            {"id": i + 1, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": int(crowd)}
            for i, (image, label, box, area, crowd) in enumerate(
                zip(
                    *(getattr(objects, name).tolist() for name in ("image", "label", "box", "area", "crowd")),
                    strict=True,
                )
            )
        ],
    }
    found = COCO()
    found.dataset = {
        **truth.dataset,
        "annotations": [
            {"id": i + 1, "image_id": image, "category_id": label, "bbox": box, "area": box[2] * box[3], "score": score}
            for i, (image, label, box, score) in enumerate(
                zip(*(getattr(detections, name).tolist() for name in ("image", "label", "box", "score")), strict=True)
            )
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # it talks
        truth.createIndex()
        found.createIndex()
        run = COCOeval(truth, found, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return DetectionScores(*(float(value) for value in run.stats))


def _columns(entries: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image = np.array([entry["image_id"] for entry in entries], np.int64)
    label = np.array([entry["category_id"] for entry in entries], np.int64)
    return image, label, np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)


def _entry(entry: Mapping[str, Any], key: str, name: str) -> Any:
    if key not in entry:
        raise ValueError(f"{name} has no {key!r}")
    return entry[key]
