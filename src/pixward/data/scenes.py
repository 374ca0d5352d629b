"""Pictures whose striking objects are known: cut-outs pasted on photos, and photos with masks of their objects.

How striking an object is follows from how far it stands out from what surrounds it (Itti, Koch and Niebur, PAMI 1998),
in CIE Lab: so a network that learns from these pictures sees brightness, colour and local contrast as people do, and
not only where objects are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pixward.errors import PixwardError
from pixward.metrics.image import srgb_to_lab
from pixward.ops.color import luma
from pixward.ops.filter import gaussian_blur

SIZE = (96, 128)
"""Height and width of a scene."""
T = TypeVar("T")
_RING, _GAP = 17, 5  # kernels of the maximum filters between which an object's surroundings lie
_SCALE = 25.0  # distance in Lab at which an object is 63 % striking
_SMALLEST, _LARGEST = 0.008, 0.6  # share of the picture that an object may fill
_BACKGROUND = 0.4  # how striking the most unusual place of a bare photo may be


@dataclass(frozen=True, eq=False)
class Scenes:
    """``scenes(count)`` draws pictures with torch's global generator, so that a run's checkpoint resumes it.

    Attributes:
        photos: uint8 ``(3, H, W)`` each, what cut-outs are pasted on.
        cutouts: uint8 ``(4, H, W)`` each, red, green, blue, alpha.
        labelled: pairs of a photo, uint8 ``(3, H, W)``, and the masks of its objects, bool ``(N, H, W)``.
        share: how many of the scenes are labelled photos, 0 to 1.
    """

    photos: Sequence[Tensor]
    cutouts: Sequence[Tensor]
    labelled: Sequence[tuple[Tensor, Tensor]] = ()
    share: float = 0.4

    def __post_init__(self) -> None:
        """Raises PixwardError for no photos or no cut-outs."""
        if not self.photos or not self.cutouts:
            raise PixwardError("scenes need at least one photo and one cut-out")

    def __call__(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures ``(count, 3, 96, 128)``, how striking each pixel is, and one object of each.

        The last two are ``(count, 96, 128)`` floats in [0, 1].
        """
        parts = [self._one() for _ in range(count)]
        images, targets, masks = (torch.stack(part) for part in zip(*parts, strict=True))
        return images, targets, masks

    def _one(self) -> tuple[Tensor, Tensor, Tensor]:
        image, masks = self._photo() if self.labelled and _chance(self.share) else self._composite()
        image = _jitter(image, torch.ones_like(masks[:1]), 0.5)
        for mask in masks:
            image = _jitter(image, mask[None], 1.0)
        image = (image + 0.02 * torch.rand(1) * torch.randn_like(image)).clamp(0, 1)
        return image[0], strikingness(image, masks), masks[int(torch.randint(len(masks), ()))]

    def _photo(self) -> tuple[Tensor, Tensor]:
        """Part of a labelled photo ``(1, 3, H, W)`` and its objects ``(N, H, W)``; a composite where none is in it."""
        photo, masks = _pick(self.labelled)
        both = _crop(torch.cat([photo, masks.to(torch.uint8) * 255]), 0.6)
        found = both[0, 3:]
        share = found.mean((1, 2))
        found = found[(share > _SMALLEST) & (share < _LARGEST)]
        if not len(found):
            return self._composite()
        largest = found.mean((1, 2)).argsort(descending=True)[:3]
        return both[:, :3], found[largest]

    def _composite(self) -> tuple[Tensor, Tensor]:
        image = _crop(_pick(self.photos), 0.35)
        if _chance(0.3):
            image = gaussian_blur(image, float(0.5 + 2 * torch.rand(())))
        masks: list[Tensor] = []
        for _ in range(1 + int(_chance(0.35)) + int(_chance(0.15))):
            image, mask = _paste(image, _pick(self.cutouts))
            masks = [*(earlier * (1 - mask) for earlier in masks), mask]  # what is behind it is hidden
        return image, torch.stack(masks)


def strikingness(image: Tensor, masks: Tensor) -> Tensor:
    """How striking each pixel of ``image`` ``(1, 3, H, W)`` is, ``(H, W)`` in [0, 1].

    An object, one of ``masks`` ``(N, H, W)`` in [0, 1], gets ``1 - exp(-d / 25)`` with ``d`` the distance in Lab
    between its mean and its surroundings' mean, and half that of their spreads. Elsewhere a place counts, weakly, by
    how far its blurred colour is from the picture's mean (Achanta et al., CVPR 2009).
    """
    lab = srgb_to_lab(image)[0]
    unusual = (gaussian_blur(lab[None], 3.0)[0] - lab.mean((1, 2), keepdim=True)).square().sum(0).sqrt()
    result = _BACKGROUND * (unusual / 60).clamp_max(1)
    for mask in masks:
        near = _grown(mask, _RING) * (1 - _grown(mask, _GAP))
        if near.sum() < 1:  # it fills the picture
            near = 1 - mask
        (mean, spread), (other, other_spread) = _moments(lab, mask), _moments(lab, near)
        distance = torch.linalg.vector_norm(mean - other) + 0.5 * torch.linalg.vector_norm(spread - other_spread)
        result = torch.lerp(result, 1 - torch.exp(-distance / _SCALE), mask)
    return result


def read_cutouts(folder: Path, *, longest: int = 112) -> list[Tensor]:
    """The photographic cut-outs below ``folder``, uint8 ``(4, H, W)``, in the order of their names.

    Drawings are passed over: folders that say so, and pictures of few colours.

    Raises:
        PixwardError: there are none.
    """
    found = []
    for path in sorted(folder.rglob("*.png")):
        if {"cartoon", "symbols", "flags", "roadsigns"} & set(path.relative_to(folder).parts):
            continue
        with Image.open(path) as image:
            picture = image.convert("RGBA")
        pixels = np.asarray(picture)
        solid = pixels[..., 3] > 128
        if max(picture.size) < 100 or not 0.15 < solid.mean() < 0.97 or _colours(pixels[solid][:, :3]) < 200:
            continue
        picture = picture.crop(Image.fromarray(pixels[..., 3]).getbbox())
        picture.thumbnail((longest, longest), Image.Resampling.BOX)
        found.append(torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy()))
    if not found:
        raise PixwardError(f"no photographic cut-outs in {folder}: give the folder of a set of PNGs with alpha")
    return found


def read_objects(images: Path, labels: Path, *, longest: int = 192) -> list[tuple[Tensor, Tensor]]:
    """Photos of ``images`` and the masks of their objects, from outlines in ``labels``: "class x y x y ..." in shares.

    Raises:
        PixwardError: no photo has labels.
    """
    from PIL import ImageDraw

    found = []
    for path in sorted(labels.glob("*.txt")):
        photo = images / f"{path.stem}.jpg"
        outlines = [[float(word) for word in line.split()[1:]] for line in path.read_text().splitlines()]
        outlines = [outline for outline in outlines if len(outline) >= 6]
        if not photo.exists() or not outlines:
            continue
        with Image.open(photo) as image:
            picture = image.convert("RGB")
        picture.thumbnail((longest, longest), Image.Resampling.BOX)
        masks = []
        for outline in outlines:
            mask = Image.new("L", picture.size)
            corners = [
                (x * picture.width, y * picture.height) for x, y in zip(outline[::2], outline[1::2], strict=True)
            ]
            ImageDraw.Draw(mask).polygon(corners, fill=255)
            masks.append(np.asarray(mask) > 0)
        pixels = torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())
        found.append((pixels, torch.from_numpy(np.stack(masks))))
    if not found:
        raise PixwardError(f"no labelled photos in {images} and {labels}")
    return found


def _colours(pixels: np.ndarray) -> int:
    """How many colours 5000 of ``pixels`` ``(N, 3)`` have, of 32 768."""
    some = pixels[:: max(1, len(pixels) // 5000)].astype(np.int64) // 8
    return len(np.unique(some @ np.array([1, 32, 1024])))


def _moments(lab: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    total = weights.sum().clamp_min(1e-6)
    mean = (lab * weights).sum((1, 2)) / total
    spread = ((lab - mean.view(3, 1, 1)).square() * weights).sum((1, 2)) / total
    return mean, spread.sqrt()


def _grown(mask: Tensor, side: int) -> Tensor:
    """The largest value within a square of ``side`` pixels; rows, then columns: many times as fast on a CPU."""
    rows = F.max_pool2d(mask[None, None], (1, side), 1, (0, side // 2))
    return F.max_pool2d(rows, (side, 1), 1, (side // 2, 0))[0, 0]


def _jitter(image: Tensor, mask: Tensor, strength: float) -> Tensor:
    """``image`` ``(1, 3, H, W)`` with another brightness, contrast and saturation within ``mask`` ``(1, H, W)``."""
    shift, contrast, colour = ((torch.rand(3) * 2 - 1) * strength).tolist()
    total = mask.sum().clamp_min(1)
    mean = (image * mask).sum((2, 3), keepdim=True) / total
    changed = mean + (image - mean) * float(np.exp(0.5 * contrast)) + 0.15 * shift
    grey = luma(changed)
    changed = grey + (changed - grey) * float(np.exp(0.7 * colour - 0.1))
    return torch.lerp(image, changed.clamp(0, 1), mask[None])


def _paste(image: Tensor, cutout: Tensor) -> tuple[Tensor, Tensor]:
    """``image`` with ``cutout`` somewhere on it, and where that is, ``(H, W)``."""
    height, width = image.shape[2:]
    longest = height * float(0.2 + 0.55 * torch.rand(()))
    scale = longest / max(cutout.shape[1:])
    size = [max(8, round(side * scale)) for side in cutout.shape[1:]]
    small = F.interpolate(cutout[None].float() / 255, size, mode="bilinear", antialias=True).clamp(0, 1)
    if _chance(0.5):
        small = small.flip(3)
    # Half of the objects are about the middle, as in photos, so that the network need not unlearn that.
    at = torch.rand(2) if _chance(0.5) else 0.5 + 0.15 * torch.randn(2)
    top, left = (
        int(max(0.0, min(1.0, p)) * (a - b)) for p, a, b in zip(at.tolist(), (height, width), size, strict=True)
    )
    mask = image.new_zeros(height, width)
    area = (slice(top, top + size[0]), slice(left, left + size[1]))
    mask[area] = small[0, 3]
    colour = image.clone()
    colour[(..., *area)] = small[:, :3]
    return torch.lerp(image, colour, mask), mask


def _crop(planes: Tensor, least: float) -> Tensor:
    """A random part of ``planes`` uint8 ``(C, H, W)``, mirrored at times, as floats ``(1, C, *SIZE)`` in [0, 1]."""
    height, width = planes.shape[1:]
    share = float(least + (1 - least) * torch.rand(()))
    unit = min(height / SIZE[0], width / SIZE[1]) * share
    high, wide = max(1, int(SIZE[0] * unit)), max(1, int(SIZE[1] * unit))
    top, left = int(torch.randint(height - high + 1, ())), int(torch.randint(width - wide + 1, ()))
    part = planes[None, :, top : top + high, left : left + wide].float() / 255
    part = F.interpolate(part, SIZE, mode="bilinear", antialias=True).clamp(0, 1)
    return part.flip(3) if _chance(0.5) else part


def _chance(share: float) -> bool:
    return bool(torch.rand(()) < share)


def _pick(things: Sequence[T]) -> T:
    return things[int(torch.randint(len(things), ()))]
