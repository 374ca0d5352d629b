"""Pictures before and after somebody's edit, in two folders: what training towards given results draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.data.paired import by_stem, listed
from pixward.data.pairs import photo_files
from pixward.errors import PixwardError
from pixward.image import from_tensor, load, to_tensor
from pixward.types import State


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """One picture before and after.

    Attributes:
        name: of the file, without its ending.
        before: uint8 sRGB ``(3, H, W)``.
        after: the same size.
    """

    name: str
    before: Tensor
    after: Tensor

    def batch(self) -> State:
        """The whole pair as a batch of one: ``{"image", "clean"}``, ``(1, 3, H, W)`` float32 in [0, 1]."""
        return {"image": self.before[None].float() / 255, "clean": self.after[None].float() / 255}


def read_before_after(before: Path, after: Path, ids: Path | None = None) -> list[BeforeAfter]:
    """Every picture of the folder ``before`` with the one of the same stem in ``after``, sorted by stem.

    Args:
        before: a folder of pictures.
        after: a folder that holds as many or more of the same sizes; what has no partner in ``before`` is passed over.
        ids: a text file with one stem a line, empty lines allowed: only these, in that order.

    Raises:
        FileNotFoundError: a folder without pictures, or no such list.
        PixwardError: a stem twice in a folder or list, an empty list, a missing partner, two sizes, a damaged picture.
    """
    first, second = by_stem(photo_files([before])), by_stem(photo_files([after]))
    names = sorted(first) if ids is None else listed(ids)
    for name in names:
        for folder, found in ((before, first), (after, second)):
            if name not in found:
                raise PixwardError(f"{folder} has no picture {name}: add it, or take {name} out of the pairs")
    return [_read(name, first[name], second[name]) for name in names]


def _read(name: str, before: Path, after: Path) -> BeforeAfter:
    images = [
        torch.from_numpy(from_tensor(to_tensor(load(path).pixels), 8)).permute(2, 0, 1) for path in (before, after)
    ]
    sizes = [f"{image.shape[2]} x {image.shape[1]}" for image in images]
    if sizes[0] != sizes[1]:
        raise PixwardError(f"{before} is {sizes[0]} and {after} {sizes[1]}: the pictures of a pair must be of one size")
    return BeforeAfter(name, *(image.contiguous() for image in images))


@dataclass(frozen=True, eq=False)
class PairCrops:
    """``crops(count)`` draws the same part of both pictures of random pairs, with torch's global generator.

    Half of them are mirrored. A part is ``side`` to ``side * zoom`` pixels wide, as far as its picture goes, and is
    reduced to ``side``, so that with a large zoom whole scenes are seen as well as details.

    Attributes:
        pairs: what to draw from.
        side: of a crop as it is handed out, in pixels.
        zoom: how many times that wide a crop may be in the picture, 1 or more.
    """

    pairs: Sequence[BeforeAfter]
    side: int
    zoom: float = 1.0

    def __post_init__(self) -> None:
        """Raises PixwardError for no pairs or a picture smaller than a crop, ValueError for a zoom below 1."""
        if self.zoom < 1:
            raise ValueError(f"zoom must be at least 1, got {self.zoom}")
        if not self.pairs:
            raise PixwardError("there are no pairs to cut crops from")
        for pair in self.pairs:
            least = min(pair.before.shape[1:])
            if least < self.side:
                raise PixwardError(f"{pair.name} is only {least} pixels wide or high, less than a crop of {self.side}")

    def __call__(self, count: int) -> State:
        """``{"image", "clean"}``, both ``(count, 3, side, side)`` float32 in [0, 1]."""
        picks = torch.randint(len(self.pairs), (count,)).tolist()
        parts = torch.stack(
            [self._one(self.pairs[pick], draw) for pick, draw in zip(picks, torch.rand(count, 4), strict=True)]
        )
        return {"image": parts[:, :3].contiguous(), "clean": parts[:, 3:].contiguous()}

    def _one(self, pair: BeforeAfter, draw: Tensor) -> Tensor:
        zoom, *place, mirror = draw.tolist()
        sizes = pair.before.shape[1:]
        most = min(*sizes, int(self.side * self.zoom))
        width = min(most, self.side + int(zoom * (most - self.side + 1)))
        top, left = (int(at * (size - width + 1)) for at, size in zip(place, sizes, strict=True))
        both = torch.cat([pair.before, pair.after])[:, top : top + width, left : left + width].float() / 255
        if width > self.side:
            both = F.interpolate(both[None], (self.side, self.side), mode="bilinear", antialias=True)[0]
        return both.flip(2) if mirror < 0.5 else both
