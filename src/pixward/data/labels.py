"""COCO's labels by their own formats: boxes (instances JSON, YOLO text), panoptic maps and captions.

Readers look at every entry before training starts. What is wrong is an error of one line that names file and entry.
With ``faults="mend"`` boxes are cut at the picture's rim instead, boxes of no size and entries without a picture are
left out, and ``mended`` has a line for each. A box that sticks out by a pixel or less is rounding, and cut without a
word: COCO itself has such boxes. A picture without a box is an example of an empty one; a picture without a map or a
caption is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixward.boxes import Boxes, Segments
from pixward.data.entries import Category, Entries, Faults, Mender, Picture, by, get, numbers, picture_size
from pixward.data.pairs import photo_files
from pixward.data.panoptic import colours_to_ids
from pixward.errors import PixwardError
from pixward.image import load

_Row = tuple[list[float], int, bool, float]  # box, label, crowd, area


@dataclass(frozen=True, eq=False)
class BoxItem:
    """The boxes of one picture.

    Attributes:
        picture: which.
        boxes: ``(n, 4)`` float64, ``x0 y0 x1 y1`` in pixels, inside the picture.
        labels: ``(n,)`` int64, places in the list of categories.
        crowd: ``(n,)`` bool, COCO's ``iscrowd``.
        areas: ``(n,)`` float64, COCO's ``area``: pixels of the mask; of the box where the file has none.
    """

    picture: Picture
    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    areas: Tensor


@dataclass(frozen=True, eq=False)
class PanopticItem:
    """The panoptic map of one picture.

    Attributes:
        picture: which.
        path: the PNG.
        ids: of its segments, as in the PNG.
        labels: of these, places in the list of categories.
        crowd: of these, COCO's ``iscrowd``.
    """

    picture: Picture
    path: Path
    ids: tuple[int, ...]
    labels: tuple[int, ...]
    crowd: tuple[bool, ...]

    def segments(self, side: int | None = None) -> Segments:
        """The map, a batch of one; segment ``k`` is ``ids[k - 1]``. ``side`` squeezes it, by nearest neighbours.

        Raises:
            PixwardError: the PNG cannot be read, has another size than the picture, or an id that the JSON lacks.
        """
        photo = load(self.path)
        if photo.size != self.picture.size:
            raise PixwardError(f"{self.path} has {by(photo.size)} pixels, its picture {by(self.picture.size)}")
        ids = colours_to_ids(photo.pixels)
        known = np.array([0, *self.ids], np.int64)
        order = known.argsort()
        places = np.searchsorted(known[order], ids).clip(max=len(known) - 1)
        strange = ids[known[order][places] != ids]
        if strange.size:
            raise PixwardError(f"{self.path}: segment {strange[0]} is in the map, but not in the JSON")
        if side is not None:
            rows, columns = (((np.arange(side) + 0.5) * n / side).astype(int) for n in places.shape)
            places = places[rows[:, None], columns]
        crowd = torch.tensor([self.crowd], dtype=torch.bool)
        labels = torch.tensor([self.labels], dtype=torch.int64)
        return Segments(torch.from_numpy(order[places])[None], labels, torch.ones_like(crowd), crowd)


@dataclass(frozen=True)
class CaptionItem:
    """The captions of one picture, as written."""

    picture: Picture
    captions: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class BoxLabels:
    """Boxes of a set of pictures, in the file's order; ``mended`` has a line for each fault that was mended."""

    categories: tuple[Category, ...]
    items: tuple[BoxItem, ...]
    mended: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PanopticLabels:
    """Panoptic maps of a set of pictures; see :class:`BoxLabels`."""

    categories: tuple[Category, ...]
    items: tuple[PanopticItem, ...]
    mended: tuple[str, ...]

    @property
    def things(self) -> Tensor:
        """``(C,)`` bool: which categories come in objects."""
        return torch.tensor([category.thing for category in self.categories])


@dataclass(frozen=True, eq=False)
class CaptionLabels:
    """Captions of a set of pictures; see :class:`BoxLabels`."""

    items: tuple[CaptionItem, ...]
    mended: tuple[str, ...]


def read_boxes(annotations: Path, images: Path, faults: Faults = "error") -> BoxLabels:
    """Boxes from a COCO instances JSON, for the pictures in the folder ``images``.

    Raises:
        PixwardError: a file that is missing or not of that kind; a fault in an entry, see the module; NaN, a negative
            size, or a category that the file lacks, however faults are taken.
    """
    entries = Entries(annotations, images, faults)
    categories = entries.categories()
    label = {category.number: i for i, category in enumerate(categories)}
    rows: dict[int, list[_Row]] = {number: [] for number in entries.pictures}
    for name, entry, picture in entries:
        category = _listed(entry, label, name)
        x, y, width, height = numbers(get(entry, "bbox", name), 4, f"{name}: bbox")
        box = entries.mender.fit([x, y, x + width, y + height], picture, name)
        if box is not None:
            (area,) = numbers([entry.get("area", width * height)], 1, f"{name}: area")
            rows[picture.number].append((box, category, bool(entry.get("iscrowd", 0)), area))
    items = tuple(_box_item(picture, rows[number]) for number, picture in entries.pictures.items())
    return BoxLabels(categories, items, tuple(entries.mender.lines))


def read_yolo(labels: Path, images: Path, names: Sequence[str], faults: Faults = "error") -> BoxLabels:
    """Boxes from YOLO's text files, one a picture: lines of ``class x y width height``, centre and size as shares.

    Pictures are numbered as their names say (``000000000139.jpg`` is 139), or by their order where a name is no number.
    A picture without boxes has an empty text file or, as often in YOLO's sets, none.

    Args:
        labels: folder of text files.
        images: folder of pictures of the same names.
        names: of the classes, in the order of their labels.
        faults: what to do about them; see the module.

    Raises:
        PixwardError: a text file without a picture, no text file at all; a line that is not five numbers, a class that
            ``names`` lacks, or a box that does not fit, with file and line.
    """
    mender, items = Mender(faults), []
    files = _pictures(images)
    for order, path in enumerate(files):
        text = labels / f"{path.stem}.txt"
        picture = Picture(int(path.stem) if path.stem.isdecimal() else order, path, picture_size(path))
        rows = _yolo_rows(text, picture, len(names), mender) if text.is_file() else []
        items.append(_box_item(picture, rows))
    texts = sorted(labels.glob("*.txt"))
    if not texts:
        raise PixwardError(f"no labels in {labels}: it has no .txt file")
    for text in texts:
        if text.stem not in {path.stem for path in files}:
            mender.fault(f"{text} is about a missing picture: no {text.stem} in {images}")
    categories = tuple(Category(i, name) for i, name in enumerate(names))
    return BoxLabels(categories, tuple(items), tuple(mender.lines))


def read_panoptic(annotations: Path, maps: Path, images: Path, faults: Faults = "error") -> PanopticLabels:
    """Panoptic maps from a COCO panoptic JSON and its folder of PNGs, which are read item by item later.

    Raises:
        PixwardError: as of :func:`read_boxes`; also a picture without a map, or with two.
    """
    entries = Entries(annotations, images, faults)
    categories = entries.categories()
    label = {category.number: i for i, category in enumerate(categories)}
    found: dict[int, PanopticItem] = {}
    for name, entry, picture in entries:
        name = f"{name} (image {picture.number})"
        rows = get(entry, "segments_info", name)
        path = maps / str(get(entry, "file_name", name))
        if picture.number in found:
            raise PixwardError(f"{name}: the image has a map already")
        if not path.is_file():
            entries.mender.fault(f"{name}: the map {path} is missing")
            continue
        ids = tuple(int(get(row, "id", name)) for row in rows)
        if len(set(ids)) < len(ids) or 0 in ids:
            raise PixwardError(f"{name}: two segments have the same id, or one has 0, which is void")
        crowd = tuple(bool(row.get("iscrowd", 0)) for row in rows)
        places = tuple(_listed(row, label, f"{name}, segment {row['id']}") for row in rows)
        found[picture.number] = PanopticItem(picture, path, ids, places, crowd)
    items = entries.of_each(found, "panoptic map")
    return PanopticLabels(categories, items, tuple(entries.mender.lines))


def read_captions(annotations: Path, images: Path, faults: Faults = "error") -> CaptionLabels:
    """Captions from a COCO captions JSON.

    Raises:
        PixwardError: as of :func:`read_boxes`; also an empty caption, or a picture without any.
    """
    entries = Entries(annotations, images, faults)
    texts: dict[int, list[str]] = {}
    for name, entry, picture in entries:
        caption = get(entry, "caption", name)
        if isinstance(caption, str) and caption.strip():
            texts.setdefault(picture.number, []).append(caption.strip())
        else:
            entries.mender.fault(f"{name}: the caption is empty")
    found = {number: CaptionItem(entries.pictures[number], tuple(told)) for number, told in texts.items()}
    return CaptionLabels(entries.of_each(found, "caption"), tuple(entries.mender.lines))


def box_batch(items: Sequence[BoxItem]) -> Boxes:
    """Items, at least one, to one batch: shares of each picture's size, float64, in [0, 1]."""
    sizes = [torch.tensor(item.picture.size, dtype=torch.float64).repeat(2) for item in items]
    shares = [(item.boxes / size).clamp(0, 1) for item, size in zip(items, sizes, strict=True)]
    plain = Boxes.pad(shares, [item.labels for item in items])
    crowd = torch.zeros_like(plain.valid)
    crowd[plain.valid] = torch.cat([item.crowd for item in items])
    return Boxes(plain.boxes, plain.labels, plain.valid, None, crowd)


def _yolo_rows(text: Path, picture: Picture, classes: int, mender: Mender) -> list[_Row]:
    rows: list[_Row] = []
    for line, words in enumerate(text.read_text(encoding="utf-8").splitlines(), 1):
        if not words.strip():
            continue
        name = f"{text}, line {line}"
        label, *shares = numbers(words.split(), 5, name)
        if label not in range(classes):
            raise PixwardError(f"{name}: class {label:g} is not in 0 ... {classes - 1}")
        x, y, width, height = (share * picture.size[i % 2] for i, share in enumerate(shares))
        box = mender.fit([x - width / 2, y - height / 2, x + width / 2, y + height / 2], picture, name)
        if box is not None:
            rows.append((box, int(label), False, (box[2] - box[0]) * (box[3] - box[1])))
    return rows


def _box_item(picture: Picture, rows: Sequence[_Row]) -> BoxItem:
    boxes, labels, crowd, areas = zip(*rows, strict=True) if rows else ((), (), (), ())
    return BoxItem(
        picture,
        torch.tensor(boxes, dtype=torch.float64).view(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(crowd, dtype=torch.bool),
        torch.tensor(areas, dtype=torch.float64),
    )


def _listed(entry: Mapping[str, Any], label: Mapping[int, int], name: str) -> int:
    number = get(entry, "category_id", name)
    if number not in label:
        raise PixwardError(f"{name} is of category {number!r}, which the file does not list")
    return label[number]


def _pictures(folder: Path) -> list[Path]:
    try:
        return photo_files([folder])
    except FileNotFoundError as error:
        raise PixwardError(f"{error}") from None
