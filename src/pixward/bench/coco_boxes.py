"""A user's boxes beside COCO's, with every entry checked, as metrics and rewards take them.

What is wrong is an error of one line that names file and entry. What COCO's own tools score without a word, but people
seldom mean (boxes that stick out of the picture, categories that the annotations lack), is a note.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pixward.bench.coco_files import Annotations, read_annotations, read_results, whole
from pixward.data.entries import by, get, numbers
from pixward.data.labels import BoxItem
from pixward.errors import PixwardError
from pixward.metrics.coco import Detections, Objects, read_coco

_ROUNDING = 1.0  # pixels by which a box may stick out without a note


@dataclass(frozen=True, eq=False)
class BoxFiles:
    """Results and instances; see :class:`pixward.metrics.coco.Detections` and ``Objects``. Labels are COCO's ids."""

    annotations: Annotations
    detections: Detections
    objects: Objects


def read_box_files(predictions: Path, targets: Path) -> BoxFiles:
    """A results JSON, ``[{"image_id", "category_id", "bbox": [x, y, width, height], "score"}]``, and instances.

    Raises:
        PixwardError: see the module; also a box that is not four finite numbers, has a negative size or lies wholly
            outside its picture, a score that is no finite number, and an annotation of an unknown category.
    """
    annotations = read_annotations(targets)
    known = {category.number for category in annotations.categories}
    outside: list[str] = []
    truths = []
    for name, entry in annotations.entries:
        row = _box(name, entry, annotations, outside)
        if row["category_id"] not in known:
            raise PixwardError(f"{name} is of category {row['category_id']}, which the file does not list")
        (row["area"],) = numbers([entry.get("area", row["bbox"][2] * row["bbox"][3])], 1, f"{name}: area")
        truths.append(row | {"iscrowd": int(bool(entry.get("iscrowd", 0)))})
    _note(outside, "stick out of their pictures")
    outside, strange, found = [], [], []
    for name, entry in read_results(predictions, annotations):
        row = _box(name, entry, annotations, outside)
        (row["score"],) = numbers([get(entry, "score", name)], 1, f"{name}: score")
        if row["category_id"] not in known:
            strange.append(f"{name} of category {row['category_id']}")
        found.append(row)
    _note(outside, "stick out of their pictures")
    _note(strange, f"have a category that {targets} does not list: none of them is right")
    images = [{"id": number} for number in annotations.images]
    return BoxFiles(annotations, *read_coco({"images": images, "annotations": truths}, found))


def box_items(files: BoxFiles, most: int = 100) -> tuple[list[BoxItem], list[BoxItem]]:
    """Predictions and truth of each picture: the ``most`` surest predictions, all boxes cut at the picture's rim.

    The label of a category that the annotations lack is the number of their categories.

    Raises:
        PixwardError: a picture whose size is not known.
    """
    annotations = files.annotations
    label = {category.number: i for i, category in enumerate(annotations.categories)}
    order = (-files.detections.score).argsort(kind="stable")
    found: dict[int, list[int]] = {number: [] for number in annotations.images}
    true: dict[int, list[int]] = {number: [] for number in annotations.images}
    for row in order.tolist():
        found[int(files.detections.image[row])].append(row)
    for row, number in enumerate(files.objects.image.tolist()):
        true[number].append(row)

    def item(number: int, source: Detections | Objects, rows: Sequence[int]) -> BoxItem:
        picture = annotations.picture(number)
        box = torch.from_numpy(source.box[rows]).view(-1, 4)
        corners = torch.cat([box[:, :2], box[:, :2] + box[:, 2:]], 1)
        labels = torch.tensor([label.get(k, len(label)) for k in source.label[rows].tolist()], dtype=torch.int64)
        crowd = source.crowd[rows] if isinstance(source, Objects) else torch.zeros(len(rows), dtype=torch.bool)
        limit = torch.tensor(picture.size, dtype=torch.float64).repeat(2)
        cut = torch.minimum(corners.clamp_min(0), limit)
        return BoxItem(picture, cut, labels, torch.as_tensor(crowd), box[:, 2] * box[:, 3])

    said = [item(number, files.detections, rows[:most]) for number, rows in found.items()]
    return said, [item(number, files.objects, rows) for number, rows in true.items()]


def _box(name: str, entry: Mapping[str, Any], annotations: Annotations, outside: list[str]) -> dict[str, Any]:
    """Picture, category and box; one that sticks out of its picture is added to ``outside``."""
    given, number = get(entry, "bbox", name), entry["image_id"]
    x, y, width, height = box = numbers(given if isinstance(given, list) else None, 4, f"{name}: bbox")
    if width < 0 or height < 0:
        raise PixwardError(f"{name}: the box has a negative size, {width:g} x {height:g}; bbox is x y width height")
    size = annotations.size(number)
    if size is not None:
        place = " ".join(f"{value:g}" for value in box)
        if x > size[0] or y > size[1] or x + width < 0 or y + height < 0:
            raise PixwardError(
                f"{name}: the box {place} (x y width height, in pixels) lies outside its picture of {by(size)}"
            )
        if max(-x, -y, x + width - size[0], y + height - size[1]) > _ROUNDING:
            outside.append(f"{name}: {place}")
    return {"image_id": number, "category_id": whole(entry, "category_id", name), "bbox": box}


def _note(found: Sequence[str], what: str) -> None:
    if found:
        warnings.warn(f"boxes {what} ({len(found)}; the first: {found[0]})", stacklevel=3)
