"""A user's results beside COCO's annotations: both read, every entry checked, as metrics and rewards take them.

Nothing here needs the pictures themselves. What is wrong is an error of one line that names file and entry. Boxes are
read in :mod:`pixward.bench.coco_boxes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixward.data.entries import Category, Picture, get, parse_json, read_json
from pixward.data.labels import PanopticItem
from pixward.errors import PixwardError

Named = tuple[str, Mapping[str, Any]]
"""An entry, after what errors call it."""


@dataclass(frozen=True)
class Annotations:
    """COCO's annotations: instances, panoptic or captions.

    Attributes:
        path: the file.
        images: what it says of each picture, by id, rising.
        categories: by id, rising; none in a file of captions.
        entries: annotations, each of a listed picture.
    """

    path: Path
    images: dict[int, Mapping[str, Any]]
    categories: tuple[Category, ...]
    entries: tuple[Named, ...]

    def size(self, number: int) -> tuple[int, int] | None:
        """Width and height of a picture in pixels; None where the file does not say.

        Raises:
            PixwardError: they are no whole numbers above 0.
        """
        size = self.images[number].get("width"), self.images[number].get("height")
        if size == (None, None):
            return None
        if not all(isinstance(value, int) and value > 0 for value in size):
            raise PixwardError(f"{self.path}, image {number} is empty: it has {size[0]} x {size[1]} pixels")
        return size  # type: ignore[return-value]

    def picture(self, number: int) -> Picture:
        """A picture whose size must be known.

        Raises:
            PixwardError: the file does not say it.
        """
        size = self.size(number)
        if size is None:
            raise PixwardError(f'{self.path}, image {number} has no "width" and "height"')
        return Picture(number, Path(str(self.images[number].get("file_name", number))), size)

    def names(self) -> list[str]:
        """Of the categories, told apart where two have the same."""
        names = [category.name for category in self.categories]
        return [c.name if names.count(c.name) == 1 else f"{c.name} ({c.number})" for c in self.categories]


def read_annotations(path: Path, categories: bool = True) -> Annotations:
    """COCO's annotations, looked at as a whole.

    Raises:
        PixwardError: no such file, no JSON, no pictures, a picture listed twice, an annotation of a picture that is
            not listed, or, where they are wanted, no categories.
    """
    data = read_json(path)
    images: dict[int, Mapping[str, Any]] = {}
    for name, entry in rows_of(data, "images", path, "image"):
        number = whole(entry, "id", name)
        if number in images:
            raise PixwardError(f"{path}: image {number} is listed twice")
        images[number] = entry
    if not images:
        raise PixwardError(f'{path} lists no pictures: its "images" is empty')
    found = []
    for name, entry in rows_of(data, "categories", path, "category") if categories else ():
        thing = bool(entry.get("isthing", 1))
        found.append(Category(whole(entry, "id", name), str(get(entry, "name", name)), thing))
    if categories and len({category.number for category in found}) != max(len(found), 1):
        raise PixwardError(f"{path} lists no categories, or two with the same id")
    entries = tuple(rows_of(data, "annotations", path, "annotation"))
    _all_listed(entries, images, "the file")
    ordered = tuple(sorted(found, key=lambda category: category.number))
    return Annotations(path, {number: images[number] for number in sorted(images)}, ordered, entries)


def read_results(path: Path, annotations: Annotations) -> tuple[Named, ...]:
    """COCO's results: a JSON list, or an object with ``annotations``; none at all is no error.

    Raises:
        PixwardError: no such file, no JSON, something else, or a result of a picture that ``annotations`` lacks.
    """
    data = parse_json(path)
    if isinstance(data, dict) and "annotations" in data:
        data = data["annotations"]
    if not isinstance(data, list):
        raise PixwardError(f'{path} is not in COCO\'s format of results: expected [{{"image_id": ..., ...}}, ...]')
    entries = tuple(rows_of({"results": data}, "results", path, "result"))
    _all_listed(entries, annotations.images, str(annotations.path))
    return entries


# --- panoptic maps and captions -------------------------------------------------------------------------------------


def read_panoptic_files(
    predictions: Path, targets: Path, prediction_maps: Path | None = None, target_maps: Path | None = None
) -> tuple[Annotations, list[tuple[PanopticItem | None, PanopticItem]]]:
    """A panoptic JSON and its folder of PNGs each; the folder is that of the JSON's name without its ending.

    Returns:
        The targets' file, and each picture's maps, which are read later. Predictions are None if there are none at all.

    Raises:
        PixwardError: see the module; also a missing folder or PNG, two maps of a picture or none, a segment of unknown
            category, and two segments with one id.
    """
    annotations = read_annotations(targets)
    true = _panoptic_items(annotations.entries, annotations, targets, target_maps)
    results = read_results(predictions, annotations)
    if not results:
        return annotations, [(None, true[number]) for number in annotations.images]
    found = _panoptic_items(results, annotations, predictions, prediction_maps)
    return annotations, [(found[number], true[number]) for number in annotations.images]


def _panoptic_items(
    entries: Sequence[Named], annotations: Annotations, path: Path, maps: Path | None
) -> dict[int, PanopticItem]:
    folder = maps or path.with_suffix("")
    if not folder.is_dir():
        raise PixwardError(f"the folder of maps {folder} of {path} does not exist")
    label = {category.number: i for i, category in enumerate(annotations.categories)}
    items: dict[int, PanopticItem] = {}
    for name, entry in entries:
        number = entry["image_id"]
        if number in items:
            raise PixwardError(f"{name}: the image has a map already")
        file = folder / str(get(entry, "file_name", name))
        if not file.is_file():
            raise PixwardError(f"{name}: the map {file} is missing")
        rows = [row for _, row in rows_of(entry, "segments_info", name, "segment")]
        ids = tuple(whole(row, "id", f"{name}, a segment") for row in rows)
        if len(set(ids)) < len(ids) or 0 in ids:
            raise PixwardError(f"{name}: two segments have the same id, or one has 0, which is void")
        kinds = [whole(row, "category_id", f"{name}, segment {row['id']}") for row in rows]
        for row, kind in zip(rows, kinds, strict=True):
            if kind not in label:
                listed = "which the file does not list" if path == annotations.path else "not in the targets' file"
                raise PixwardError(f"{name}, segment {row['id']} is of category {kind}, {listed}")
        crowd = tuple(bool(row.get("iscrowd", 0)) for row in rows)
        items[number] = PanopticItem(annotations.picture(number), file, ids, tuple(label[k] for k in kinds), crowd)
    for number in annotations.images:
        if number not in items:
            raise PixwardError(f"{path} has no map of image {number}, which {annotations.path} lists")
    return items


def read_references(path: Path) -> tuple[Annotations, dict[int, list[str]]]:
    """COCO's captions: what people wrote of each picture, of those pictures that have captions.

    Raises:
        PixwardError: see the module; also a caption that is no text.
    """
    annotations = read_annotations(path, categories=False)
    texts: dict[int, list[str]] = {}
    for name, entry in annotations.entries:
        texts.setdefault(entry["image_id"], []).append(_caption(name, entry))
    return annotations, texts


def read_captions_said(path: Path, annotations: Annotations) -> dict[int, str]:
    """A results JSON, ``[{"image_id", "caption"}]``: one caption for a picture, by id, rising.

    Raises:
        PixwardError: see the module; also a caption that is no text, and two of one picture.
    """
    said: dict[int, str] = {}
    for name, entry in read_results(path, annotations):
        if entry["image_id"] in said:
            raise PixwardError(f"{name}: the image has a caption already")
        said[entry["image_id"]] = _caption(name, entry)
    return {number: said[number] for number in sorted(said)}


# --- entries --------------------------------------------------------------------------------------------------------


def rows_of(data: Mapping[str, Any], key: str, path: Path | str, kind: str) -> Iterator[Named]:
    """The objects of a list in ``data``, each after its name.

    Raises:
        PixwardError: no list, or something else in it.
    """
    rows = get(data, key, str(path))
    if not isinstance(rows, list):
        raise PixwardError(f'{path}: "{key}" must be a list')
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise PixwardError(f"{path}, {kind} at place {place} must be an object, got {row!r}")
        of = f" (image {row['image_id']})" if kind == "result" and "image_id" in row else ""
        yield f"{path}, {kind} {row['id'] if 'id' in row and not of else f'at place {place}{of}'}", row


def _all_listed(entries: Sequence[Named], images: Mapping[int, object], where: str) -> None:
    for name, entry in entries:
        if whole(entry, "image_id", name) not in images:
            raise PixwardError(f"{name} is of image {entry['image_id']}, which {where} does not list")


def whole(entry: Mapping[str, Any], key: str, name: str) -> int:
    """A whole number, COCO's form of an id.

    Raises:
        PixwardError: it is missing or something else.
    """
    value = get(entry, key, name)
    if isinstance(value, bool) or not isinstance(value, int):
        near = isinstance(value, float) and math.isfinite(value) and value == int(value)
        if not near:
            raise PixwardError(f'{name}: "{key}" must be a whole number, got {value!r}')
    return int(value)


def _caption(name: str, entry: Mapping[str, Any]) -> str:
    caption = get(entry, "caption", name)
    if not isinstance(caption, str):
        raise PixwardError(f"{name}: the caption must be text, got {caption!r}")
    return caption
