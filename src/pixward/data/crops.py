"""Random crops of photos at full resolution: what training of systems that work pixel by pixel draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixward.errors import PixwardError


@dataclass(frozen=True, eq=False)
class Crops:
    """``crops(count)`` draws from ``photos`` with torch's global generator, so that a run's checkpoint resumes it.

    Attributes:
        photos: uint8, ``(C, H, W)`` each, with one ``C``.
        side: of a crop, in pixels.
    """

    photos: Sequence[Tensor]
    side: int

    def __post_init__(self) -> None:
        """Raises PixwardError for no photos, or one that is smaller than a crop."""
        if not self.photos:
            raise PixwardError("there are no photos to cut crops from")
        least = min(min(photo.shape[1:]) for photo in self.photos)
        if least < self.side:
            raise PixwardError(f"a photo is only {least} pixels wide or high, less than a crop of {self.side}")

    def __call__(self, count: int) -> Tensor:
        """``(count, C, side, side)`` float32 in [0, 1], mirrored and turned by quarters at random."""
        picks = torch.randint(len(self.photos), (count,)).tolist()
        places = torch.rand(count, 2).tolist()
        turns = torch.randint(8, (count,)).tolist()
        return torch.stack([self._one(*chosen) for chosen in zip(picks, places, turns, strict=True)]).float() / 255

    def _one(self, pick: int, place: Sequence[float], turn: int) -> Tensor:
        photo, side = self.photos[pick], self.side
        top, left = (int(at * (size - side + 1)) for at, size in zip(place, photo.shape[1:], strict=True))
        crop = torch.rot90(photo[:, top : top + side, left : left + side], turn % 4, (1, 2))
        return crop.flip(2) if turn >= 4 else crop


def read_photos(files: Sequence[Path], *, grey: bool) -> list[Tensor]:
    """The pictures of ``files`` as uint8 ``(1, H, W)`` or ``(3, H, W)``: 8 bit, in the file's own profile.

    Grey is ITU-R 601 luma, as the denoising literature's test sets are made.

    Raises:
        PixwardError: a file that is no picture.
    """
    return [_read(file, grey) for file in files]


def _read(file: Path, grey: bool) -> Tensor:
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except OSError as error:
        raise PixwardError(f"{file} cannot be read as a picture ({error}): remove it or replace it") from None
    return torch.from_numpy(pixels.copy()[None] if grey else np.ascontiguousarray(pixels.transpose(2, 0, 1)))
