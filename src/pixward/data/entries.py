"""What COCO's files have in common: pictures, categories, entries about pictures; and what to do about faults."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from PIL import Image
from torch import Tensor

from pixward.errors import PixwardError
from pixward.image import load, resize_to, to_tensor

Faults = Literal["error", "mend"]
"""Whether a fault in a file is an error, or is mended and noted."""

_T = TypeVar("_T")
_ROUNDING = 1.0  # pixels by which a box may stick out without a word
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Category:
    """A class. Its place in the list of them is its label.

    Attributes:
        number: the file's own id.
        name: in words.
        thing: whether it comes in objects; stuff does not.
    """

    number: int
    name: str
    thing: bool = True


@dataclass(frozen=True)
class Picture:
    """A picture that labels speak of.

    Attributes:
        number: COCO's id.
        path: its file.
        size: ``(width, height)`` in pixels.
    """

    number: int
    path: Path
    size: tuple[int, int]

    def image(self, side: int | None = None) -> Tensor:
        """``(1, 3, H, W)`` float32 in [0, 1], upright; squeezed to ``side`` by ``side`` pixels where that is given.

        Raises:
            PixwardError: it cannot be read, or has another size than the labels say.
        """
        photo = load(self.path)
        if photo.size != self.size:
            raise PixwardError(f"{self.path} has {by(photo.size)} pixels, its labels are for {by(self.size)}")
        image = to_tensor(photo.pixels)
        return image if side is None else resize_to(image, (side, side))


class Mender:
    """Takes faults as they come: raises, or notes them in ``lines``."""

    def __init__(self, faults: Faults) -> None:
        if faults not in ("error", "mend"):
            raise ValueError(f'faults must be "error" or "mend", got {faults!r}')
        self.faults = faults
        self.lines: list[str] = []

    def fault(self, text: str) -> None:
        """Something that can be mended.

        Raises:
            PixwardError: faults are errors.
        """
        if self.faults == "error":
            raise PixwardError(f'{text}; correct the file, or read it with faults="mend"')
        self.lines.append(text)

    def fit(self, box: Sequence[float], picture: Picture, name: str) -> list[float] | None:
        """``x0 y0 x1 y1`` in pixels, cut at the picture's rim; None for one that is to be left out.

        Raises:
            PixwardError: negative size; if faults are errors, also no size, or more than a pixel outside.
        """
        x0, y0, x1, y1 = box
        width, height = picture.size
        if x1 < x0 or y1 < y0:
            raise PixwardError(f"{name}: the box has a negative size, {x1 - x0:g} x {y1 - y0:g}")
        cut = [min(max(x0, 0.0), width), min(max(y0, 0.0), height), min(max(x1, 0.0), width), min(max(y1, 0.0), height)]
        if x1 == x0 or y1 == y0:
            self.fault(f"{name}: the box has no size, {x1 - x0:g} x {y1 - y0:g}")
            return None
        outside = max(abs(a - b) for a, b in zip(box, cut, strict=True))
        if outside > _ROUNDING or cut[2] <= cut[0] or cut[3] <= cut[1]:
            corners = " ".join(f"{value:g}" for value in box)
            self.fault(f"{name}: the box {corners} is not inside image {picture.number}, which has {by(picture.size)}")
        return cut if cut[2] > cut[0] and cut[3] > cut[1] else None


class Entries:
    """A COCO JSON: what it says about pictures that are there.

    Attributes:
        pictures: those listed whose file is in the folder, by their id.
        mender: of this file's faults.
    """

    def __init__(self, annotations: Path, images: Path, faults: Faults) -> None:
        self.path, self.mender = annotations, Mender(faults)
        self._data = read_json(annotations)
        if not images.is_dir():
            raise PixwardError(f"the folder of pictures {images} does not exist")
        self.pictures: dict[int, Picture] = {}
        self._listed: set[int] = set()
        for i, entry in enumerate(self._rows("images")):
            picture = self._picture(f"{annotations}, image {entry.get('id', f'at place {i}')}", entry, images)
            if picture.number in self._listed:
                raise PixwardError(f"{annotations}: image {picture.number} is listed twice")
            self._listed.add(picture.number)
            if picture.path.is_file():
                self.pictures[picture.number] = picture
            else:
                self.mender.fault(f"{annotations}: image {picture.number} is missing: no file {picture.path}")

    def categories(self) -> tuple[Category, ...]:
        """Those that the file lists, by id."""
        found = []
        for i, entry in enumerate(self._rows("categories")):
            name = f"{self.path}, category {i}"
            thing = bool(entry.get("isthing", 1))
            found.append(Category(int(get(entry, "id", name)), str(get(entry, "name", name)), thing))
        if len({category.number for category in found}) < len(found):
            raise PixwardError(f"{self.path}: two categories have the same id")
        return tuple(sorted(found, key=lambda category: category.number))

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Any], Picture]]:
        """Each annotation: what errors call it, what it says, its picture."""
        for i, entry in enumerate(self._rows("annotations")):
            number = get(entry, "image_id", f"{self.path}, annotation {entry.get('id', f'at place {i}')}")
            name = f"{self.path}, annotation {entry.get('id', f'of image {number}')}"
            if number in self.pictures:
                yield name, entry, self.pictures[number]
            elif number not in self._listed:
                self.mender.fault(f"{name} is of image {number}, which the file does not list")

    def of_each(self, found: Mapping[int, _T], what: str) -> tuple[_T, ...]:
        """``found`` in the order of the pictures; a picture without ``what`` is a fault."""
        for number in self.pictures:
            if number not in found:
                self.mender.fault(f"{self.path}: image {number} has no {what}")
        return tuple(found[number] for number in self.pictures if number in found)

    def _rows(self, key: str) -> list[dict[str, Any]]:
        rows = get(self._data, key, str(self.path))
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise PixwardError(f'{self.path}: "{key}" must be a list of objects')
        return rows

    def _picture(self, name: str, entry: Mapping[str, Any], images: Path) -> Picture:
        width, height = (get(entry, key, name) for key in ("width", "height"))
        if not all(isinstance(value, int) and value > 0 for value in (width, height)):
            raise PixwardError(f"{name} is empty: it has {width} x {height} pixels")
        return Picture(int(get(entry, "id", name)), images / str(get(entry, "file_name", name)), (width, height))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object.

    Raises:
        PixwardError: it is missing, unreadable or something else.
    """
    data = parse_json(path)
    if not isinstance(data, dict):
        raise PixwardError(f'{path} is not in COCO\'s format: expected {{"images": [...], "annotations": [...]}}')
    return data


def parse_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        PixwardError: it is missing, unreadable or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise PixwardError(f"cannot read {path}: {error.strerror or error}") from None
    except json.JSONDecodeError as error:
        raise PixwardError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise PixwardError(f"{path} is not a JSON file: {error}") from None


def get(entry: Mapping[str, Any], key: str, name: str) -> Any:
    """``entry[key]``, or an error that says what lacks it."""
    if key not in entry:
        raise PixwardError(f'{name} has no "{key}"')
    return entry[key]


def numbers(values: Any, count: int, name: str) -> list[float]:
    """``count`` finite numbers, from numbers or from words.

    Raises:
        PixwardError: something else.
    """
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        found = []
    if len(found) != count or not all(math.isfinite(value) for value in found):
        raise PixwardError(f"{name}: expected {count} finite numbers, got {values}")
    return found


def picture_size(path: Path) -> tuple[int, int]:
    """``(width, height)`` of a picture as it is upright, from its header alone.

    Raises:
        PixwardError: it cannot be read.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_ORIENTATION, 1) >= 5
            return (height, width) if turned else (width, height)
    except (OSError, ValueError, TypeError, SyntaxError):
        return load(path).size  # which says what is wrong


def by(size: tuple[int, int]) -> str:
    """``640 x 480``."""
    return f"{size[0]} x {size[1]}"
