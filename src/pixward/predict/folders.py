"""A user's own labelled pictures, COCO's files in a folder, as a :class:`pixward.predict.task.Source` of small squares.

::

    DATA/annotations/instances_NAME.json    for detect; panoptic_NAME.json with the folder panoptic_NAME of its PNGs for
                                            panoptic; captions_NAME.json for caption. DATA/*.json will do as well
    DATA/images/  or  DATA/NAME/            the pictures; for colour nothing else is needed

Every tenth picture is held out. Pictures are squeezed to the size that policies read; boxes are shares, so they fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pixward.boxes import Boxes, Segments
from pixward.data.entries import Faults, Picture, picture_size, read_json
from pixward.data.labels import BoxItem, PanopticItem, box_batch, read_boxes, read_captions, read_panoptic
from pixward.data.pairs import photo_files
from pixward.data.synth import SceneBatch
from pixward.errors import PixwardError

PREFIXES = {"detect": "instances", "panoptic": "panoptic", "caption": "captions"}
"""How COCO begins the names of the files that each task reads."""
HELD_OUT = 10
"""Every tenth picture is not trained on but scored; of fewer than ten, the last."""
MOST = 20
"""Boxes of a picture that are learnt: of more, the largest. They are all there where a policy is scored."""
_KEPT = 20_000  # squares kept in memory, 12 kB each; further ones are read each time


@dataclass(frozen=True, eq=False)
class Labelled:
    """One picture and what is true of it; what its file does not tell is empty."""

    picture: Picture
    boxes: BoxItem | None = None
    segments: PanopticItem | None = None
    captions: tuple[str, ...] = ()


class FolderSource:
    """Labelled pictures by number: a :class:`pixward.predict.task.Source`.

    Args:
        items: at least one.
        order: the place of each class among the policy's, ``(C,)`` int64; None where the file's order is kept.
        most: boxes of a picture; of more, the largest. None for all of them.
        seed: of the order, which is another one for each round through the pictures; None for the files' order.
        side: height and width of the squares.
    """

    def __init__(
        self,
        items: Sequence[Labelled],
        *,
        order: Tensor | None = None,
        most: int | None = None,
        seed: int | None = None,
        side: int = 64,
    ) -> None:
        if not items:
            raise ValueError("a source needs one picture or more")
        self.items, self.order, self.most, self.seed, self.side = tuple(items), order, most, seed, side
        counts = [0 if item.boxes is None else len(item.boxes.labels) for item in items]
        self._width = max(counts) if most is None else min(most, max(counts))
        self._columns = max(0 if item.segments is None else len(item.segments.ids) for item in items)
        self._squares: dict[int, tuple[Tensor, Tensor]] = {}
        self._round: tuple[int, Tensor] = -1, torch.zeros(0)  # which one, and its order

    def __len__(self) -> int:
        return len(self.items)

    def batch(self, indices: Iterable[int]) -> SceneBatch:
        """The pictures ``indices``, any numbers from 0: after the last one comes the first of another round.

        Raises:
            PixwardError: a picture or a map that cannot be read or has another size than its labels say.
        """
        places = [self._place(index) for index in indices]
        squares = [self._square(place) for place in places]
        items = [self.items[place] for place in places]
        boxes = self._boxes(items)
        return SceneBatch(
            torch.stack([image for image, _ in squares]).float() / 255,
            boxes,
            self._segments(items, torch.stack([ids for _, ids in squares])),
            [list(item.captions) for item in items],
            boxes.valid.float(),
        )

    def _place(self, index: int) -> int:
        around, place = divmod(index, len(self.items))
        if self.seed is None:
            return place
        if around != self._round[0]:
            # torch looks at the lower 32 bits of a seed only.
            generator = torch.Generator().manual_seed((1_000_003 * self.seed + around) % 2**32)
            self._round = around, torch.randperm(len(self.items), generator=generator)
        return int(self._round[1][place])

    def _square(self, place: int) -> tuple[Tensor, Tensor]:
        """The picture, uint8 ``(3, side, side)``, and its map, int64 ``(side, side)``."""
        if place in self._squares:
            return self._squares[place]
        item = self.items[place]
        image = (item.picture.image(self.side)[0].clamp(0, 1) * 255).round().byte()
        none = torch.zeros(self.side, self.side, dtype=torch.int64)
        both = image, none if item.segments is None else item.segments.segments(self.side).ids[0]
        if len(self._squares) < _KEPT:
            self._squares[place] = both
        return both

    def _boxes(self, items: Sequence[Labelled]) -> Boxes:
        kept = [_largest(item.boxes or _no_boxes(item.picture), self.most) for item in items]
        told = box_batch(kept)
        room = self._width - told.valid.shape[1]
        crowd = told.crowd if told.crowd is not None else torch.zeros_like(told.valid)
        labels = told.labels if self.order is None else self.order[told.labels]
        pad = torch.nn.functional.pad
        return Boxes(
            pad(told.boxes.float(), (0, 0, 0, room)),
            pad(torch.where(told.valid, labels, 0), (0, room)),
            pad(told.valid, (0, room)),
            None,
            pad(crowd, (0, room)),
        )

    def _segments(self, items: Sequence[Labelled], ids: Tensor) -> Segments:
        labels = torch.zeros(len(items), self._columns, dtype=torch.int64)
        valid = torch.zeros(len(items), self._columns, dtype=torch.bool)
        crowd = torch.zeros_like(valid)
        for row, item in enumerate(items):
            if item.segments is not None:
                count = len(item.segments.ids)
                told = torch.tensor(item.segments.labels, dtype=torch.int64)
                labels[row, :count] = told if self.order is None else self.order[told]
                valid[row, :count] = True
                crowd[row, :count] = torch.tensor(item.segments.crowd, dtype=torch.bool)
        return Segments(ids, labels, valid, crowd)


@dataclass(frozen=True, eq=False)
class FolderData:
    """Everything that a task and its training take from a folder.

    Attributes:
        train: pictures to learn from, shuffled.
        held_out: pictures to score, in the files' order, all boxes there.
        names: of the classes, things first; none for captions and colours.
        things: how many of them come in objects.
        counts: boxes of each class to learn from.
        most: boxes or objects of the fullest picture, to learn from.
        captions: of each picture to learn from.
        notes: what was mended, and what else a person should know.
    """

    train: FolderSource
    held_out: FolderSource
    names: tuple[str, ...] = ()
    things: int = 0
    counts: tuple[int, ...] = ()
    most: int = 0
    captions: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


def read_folder(
    task: str, data: Path, images: Path | None = None, *, faults: Faults = "error", seed: int = 0
) -> FolderData:
    """What ``data`` holds for ``task``.

    Args:
        task: ``detect``, ``panoptic``, ``caption`` or ``colour``.
        data: a folder as the module says, or a COCO JSON itself.
        images: the folder of its pictures; None to look where COCO has them.
        faults: what to do about them; see :mod:`pixward.data.labels`.
        seed: of the order in which pictures are learnt from.

    Raises:
        PixwardError: no labels or several files of them, no pictures, a picture that is missing, fewer than two
            pictures, or any other fault in the files; one line that names it.
    """
    items, names, things, notes = _items(task, data, images, faults)
    if len(items) < 2:
        raise PixwardError(f"{data} has {len(items)} pictures for {task}: one is held out, so it takes two or more")
    every = min(HELD_OUT, len(items))
    shown = [item for place, item in enumerate(items) if (place + 1) % every]
    order = torch.tensor([_things_first(things).index(place) for place in range(len(things))], dtype=torch.int64)
    train = FolderSource(shown, order=order, most=MOST, seed=seed)
    labels = [train.order[_largest(item.boxes, MOST).labels] for item in shown if item.boxes is not None]  # type: ignore[index]
    full = sum(item.boxes is not None and len(item.boxes.labels) > MOST for item in shown)
    if full:
        notes = (*notes, f"{full} pictures have more than {MOST} boxes: the largest are learnt")
    objects = [
        sum(things[label] for label in item.segments.labels) if item.segments is not None else 0 for item in shown
    ]
    return FolderData(
        train,
        FolderSource(items[every - 1 :: every], order=order),
        tuple(names[place] for place in _things_first(things)),
        sum(things),
        tuple(torch.cat(labels).bincount(minlength=len(names)).tolist()) if labels else (),
        max(max(map(len, labels), default=0), max(objects)),
        tuple(item.captions for item in shown),
        notes,
    )


def _items(
    task: str, data: Path, images: Path | None, faults: Faults
) -> tuple[list[Labelled], list[str], list[bool], tuple[str, ...]]:
    """All pictures of ``data`` for ``task``, the classes' names, which of them are things, and what was mended."""
    if task == "colour":
        try:
            files = photo_files([images or data])
        except FileNotFoundError as error:
            raise PixwardError(str(error)) from None
        return [Labelled(Picture(i, file, picture_size(file))) for i, file in enumerate(files)], [], [], ()
    labels = labels_file(task, data)
    photos = images or pictures_folder(labels)
    try:
        if task == "caption":
            told = read_captions(labels, photos, faults)
            items = [Labelled(item.picture, captions=item.captions) for item in told.items]
            return items, [], [], told.mended
        if task == "panoptic":
            maps = read_panoptic(labels, labels.with_suffix(""), photos, faults)
            items = [Labelled(item.picture, segments=item) for item in maps.items]
            return items, [c.name for c in maps.categories], maps.things.tolist(), maps.mended
        boxes = read_boxes(labels, photos, faults)
    except PixwardError as error:
        raise PixwardError(str(error).replace('read it with faults="mend"', "pass --mend to leave out such")) from None
    names = [category.name for category in boxes.categories]
    return [Labelled(item.picture, boxes=item) for item in boxes.items], names, [True] * len(names), boxes.mended


def labels_file(task: str, data: Path) -> Path:
    """The JSON in ``data`` that ``task`` reads; ``data`` itself if it is a file.

    Raises:
        PixwardError: none, or several.
    """
    if data.is_file():
        return data
    if not data.is_dir():
        raise PixwardError(f"there is no folder {data}: --data takes a folder with COCO's files, or one JSON of them")
    found = sorted(path for folder in (data / "annotations", data) for path in folder.glob("*.json"))
    fitting = [path for path in found if path.name.startswith(PREFIXES[task])] or found
    if not fitting:
        raise PixwardError(f"there is no {PREFIXES[task]}_NAME.json in {data} or {data / 'annotations'}")
    if len(fitting) > 1:
        raise PixwardError(f"{data} has several files of labels: give one of them, --data {fitting[0]}")
    return fitting[0]


def pictures_folder(labels: Path) -> Path:
    """Where the pictures lie that a COCO JSON lists: the first place that has one of them.

    Raises:
        PixwardError: no such place, or a file that is not COCO's.
    """
    root = labels.parent.parent if labels.parent.name == "annotations" else labels.parent
    split = labels.stem.split("_", 1)[-1]
    places = [root / "images" / split, root / split, root / "images", root, root.parent / "images" / split]
    listed = read_json(labels).get("images")
    names = [str(row.get("file_name")) for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    if not names:
        raise PixwardError(f'{labels} lists no pictures: it needs {{"images": [{{"file_name": ...}}, ...]}}')
    for place in places:
        if any((place / name).is_file() for name in names):
            return place
    raise PixwardError(
        f"no picture that {labels} lists, such as {names[0]}, is in {', '.join(map(str, places[:4]))}: "
        f"say where with --images DIR"
    )


def _things_first(things: Sequence[bool]) -> list[int]:
    return sorted(range(len(things)), key=lambda place: not things[place])


def _largest(boxes: BoxItem, most: int | None) -> BoxItem:
    """``boxes``, or the ``most`` largest of them, in their order."""
    if most is None or len(boxes.labels) <= most:
        return boxes
    sides = boxes.boxes[:, 2:] - boxes.boxes[:, :2]
    kept = sides.prod(1).argsort(descending=True, stable=True)[:most].sort().values
    return replace(
        boxes, boxes=boxes.boxes[kept], labels=boxes.labels[kept], crowd=boxes.crowd[kept], areas=boxes.areas[kept]
    )


def _no_boxes(picture: Picture) -> BoxItem:
    none = torch.zeros(0)
    return BoxItem(picture, torch.zeros(0, 4, dtype=torch.float64), none.long(), none.bool(), none.double())
