"""Photos for training: small tiles cut from previews, and the random settings that turn them into goals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixward.image import from_tensor, load, to_tensor

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}


def photo_files(folders: Iterable[Path | str]) -> list[Path]:
    """Every picture below ``folders``, sorted, so that a seed means the same order everywhere.

    Raises:
        FileNotFoundError: a folder is missing or holds no picture.
    """
    found: list[Path] = []
    for folder in map(Path, folders):
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
        if not files:
            raise FileNotFoundError(f"no pictures in {folder}")
        found += files
    return found


def tile_bank(files: Sequence[Path], *, side: int = 48, tiles: int = 12, preview: int = 256, seed: int = 0) -> Tensor:
    """Square tiles ``(len(files) * tiles, 3, side, side)`` uint8 for training.

    Each photo is reduced to ``preview`` pixels and cut at random places and scales: half of the tiles at the
    preview's own resolution, where fine detail is as a search will see it, half from larger crops, whose spread of
    tones and colours is nearer to a whole picture's.
    """
    rng = np.random.default_rng(seed)
    out = np.empty((len(files) * tiles, side, side, 3), np.uint8)
    for i, path in enumerate(files):
        image = Image.fromarray(from_tensor(to_tensor(load(path).pixels), 8))
        scale = preview / max(image.size)
        size = (max(side, round(image.width * scale)), max(side, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BOX)
        for t in range(tiles):
            crop = side if t % 2 else int(rng.integers(side, min(size) + 1))
            left, top = int(rng.integers(0, size[0] - crop + 1)), int(rng.integers(0, size[1] - crop + 1))
            tile = image.crop((left, top, left + crop, top + crop))
            out[i * tiles + t] = np.asarray(tile.resize((side, side), Image.Resampling.BOX))
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


def scene_bank(files: Sequence[Path], *, side: int = 48, tiles: int = 16, share: float = 0.6, seed: int = 0) -> Tensor:
    """Square pictures of whole scenes, ``(len(files), tiles, 3, side, side)`` uint8, for what needs the scene.

    Each is a random crop of at least ``share`` of the photo's shorter side, reduced.
    """
    rng = np.random.default_rng(seed)
    out = np.empty((len(files), tiles, side, side, 3), np.uint8)
    for i, path in enumerate(files):
        image = Image.fromarray(from_tensor(to_tensor(load(path).pixels), 8))
        for t in range(tiles):
            crop = int(rng.integers(round(share * min(image.size)), min(image.size) + 1))
            left, top = int(rng.integers(0, image.width - crop + 1)), int(rng.integers(0, image.height - crop + 1))
            tile = image.crop((left, top, left + crop, top + crop))
            out[i, t] = np.asarray(tile.resize((side, side), Image.Resampling.BOX))
    return torch.from_numpy(out).permute(0, 1, 4, 2, 3).contiguous()


def draw_scenes(bank: Tensor, batch: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Pairs of different photos of a :func:`scene_bank`, ``(batch, 3, side, side)`` floats each, half of them mirrored.

    Raises:
        ValueError: a bank of fewer than two photos.
    """
    photos, tiles = bank.shape[:2]
    if photos < 2:
        raise ValueError("pairs of scenes need at least two photos")
    first = torch.randint(photos, (batch,), generator=generator)
    second = (first + 1 + torch.randint(photos - 1, (batch,), generator=generator)) % photos
    drawn = []
    for rows in (first, second):
        picked = bank[rows, torch.randint(tiles, (batch,), generator=generator)].float() / 255
        mirrored = torch.rand(batch, 1, 1, 1, generator=generator) < 0.5
        drawn.append(torch.where(mirrored, picked.flip(3), picked))
    return drawn[0], drawn[1]


def draw_tiles(bank: Tensor, batch: int, generator: torch.Generator | None = None) -> Tensor:
    """``batch`` random tiles of ``bank`` as floats ``(batch, 3, H, W)`` in [0, 1], half of them mirrored."""
    picked = bank[torch.randint(len(bank), (batch,), generator=generator)].float() / 255
    mirrored = torch.rand(batch, 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored, picked.flip(3), picked)


def random_actions(batch: int, sliders: int, generator: torch.Generator | None = None) -> Tensor:
    """Normalised settings ``(batch, sliders)``, uniform in ``[-radius, radius]``.

    Each row draws its own radius, 0.25 to 1, and a third of the rows leave about half of the sliders alone, as people
    do.
    """
    unit = torch.rand(batch, sliders, generator=generator) * 2 - 1
    radii = 0.25 + 0.75 * torch.rand(batch, 1, generator=generator)
    sparse = torch.rand(batch, 1, generator=generator) < 1 / 3
    untouched = sparse & (torch.rand(batch, sliders, generator=generator) < 0.5)
    return torch.where(untouched, torch.zeros_like(unit), unit * radii)


def foreign_look(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A mild look from outside any editor: a random colour matrix near the identity and a power per channel.

    Shown to a policy as goals it cannot quite reach, so that it learns to come near instead of going astray.
    """
    batch = images.shape[0]
    matrix = (torch.eye(3) + 0.08 * torch.randn(batch, 3, 3, generator=generator)).to(images)
    mixed = torch.einsum("bij,bjhw->bihw", matrix / matrix.sum(2, keepdim=True), images).clamp(1e-4, 1)
    powers = torch.exp(0.12 * torch.randn(batch, 3, 1, 1, generator=generator)).to(images)
    return mixed.pow(powers).clamp(0, 1)
