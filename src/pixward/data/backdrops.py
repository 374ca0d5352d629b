"""What lies behind a scene's objects: sky, grass, sand, tiles and boards, made up; or tiles of the user's photos."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from pixward.data.pairs import photo_files, tile_bank

STUFF = ("sky", "grass", "sand", "tiles", "boards", "photo")
"""What a background is made of: the classes of panoptic maps that are no objects."""

_UPPER, _LOWER = ("sky", "tiles", "boards"), ("grass", "sand", "tiles")

# Two looks each, the first twice as frequent: what grey alone does not tell apart.
_LOOKS = {
    "sky": ((0.58, 0.72, 0.90), (0.92, 0.74, 0.60)),
    "grass": ((0.40, 0.56, 0.32), (0.60, 0.56, 0.34)),
    "sand": ((0.78, 0.70, 0.54), (0.66, 0.60, 0.56)),
    "tiles": ((0.62, 0.62, 0.64), (0.50, 0.58, 0.60)),
    "boards": ((0.52, 0.42, 0.34), (0.46, 0.46, 0.44)),
}


def backdrop(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """A background of one stuff, or of two on either side of a slanting horizon.

    Returns:
        the image ``(side, side, 3)`` float32, about [0, 1]; which stuff each pixel is, ``(side, side)`` uint8,
        an index into the third value; the names of the one or two.
    """
    upper, lower = (int(rng.integers(3)) for _ in range(2))
    both = (_UPPER[upper], _LOWER[lower])
    if rng.random() < 0.4 or both[0] == both[1]:
        kind = both[int(rng.integers(2))]
        return surface(rng, kind, side), np.zeros((side, side), np.uint8), (kind,)
    y, x = _grid(side)
    below = y > rng.uniform(0.3, 0.7) + rng.uniform(-0.3, 0.3) * (x - 0.5)
    image = np.where(below[..., None], surface(rng, both[1], side), surface(rng, both[0], side))
    return image, below.astype(np.uint8), both


def photo_tiles(folder: Path, side: int, *, held_out: bool) -> np.ndarray:
    """Tiles ``(n, side, side, 3)`` uint8 of every fifth photo below ``folder`` if ``held_out``, else of the others.

    A folder of fewer than five photos gives its first to those held out.

    Raises:
        FileNotFoundError: no picture in the folder, or only one.
    """
    files = photo_files([folder])
    picked = [path for i, path in enumerate(files) if (i % 5 == 0) == held_out]
    if not picked:
        raise FileNotFoundError(f"need at least two pictures in {folder}: one is held out")
    bank = tile_bank(picked, side=side, preview=max(256, 2 * side))
    return bank.permute(0, 2, 3, 1).contiguous().numpy()


def surface(rng: np.random.Generator, kind: str, side: int) -> np.ndarray:
    """One stuff, of those that are made up, all over: ``(side, side, 3)`` float32, about [0, 1]."""
    y, x = _grid(side)
    looks = _LOOKS[kind]
    base = np.array(looks[rng.random() < 1 / 3], np.float32) + rng.normal(0, 0.04, 3).astype(np.float32)
    shade = rng.uniform(0.75, 1.1) + 0.12 * _clouds(rng, side)
    if kind == "sky":
        shade = shade + rng.uniform(0.1, 0.35) * (y - 0.5)
    elif kind in ("grass", "sand"):
        shade = shade + (0.10 if kind == "grass" else 0.05) * rng.standard_normal((side, side), np.float32)
    elif kind == "tiles":
        period, phase = rng.uniform(0.12, 0.35), rng.random(2)
        odd = (np.floor(y / period + phase[0]) + np.floor(x / period + phase[1])) % 2
        shade = shade - rng.uniform(0.05, 0.25) * odd
    else:
        angle = rng.uniform(0, np.pi)
        wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * rng.uniform(20, 60))
        shade = shade + rng.uniform(0.05, 0.18) * wave
    return (shade[..., None] * base).astype(np.float32, copy=False)


def _clouds(rng: np.random.Generator, side: int) -> np.ndarray:
    """Smooth noise ``(side, side)`` of variance about 0.5: 6 x 6 normal numbers, interpolated."""
    spread = _interpolation(6, side)
    return spread @ rng.standard_normal((6, 6), np.float32) @ spread.T


@lru_cache(maxsize=8)
def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    axis = ((np.arange(side) + 0.5) / side).astype(np.float32)
    return axis[:, None], axis[None, :]


@lru_cache(maxsize=8)
def _interpolation(knots: int, side: int) -> np.ndarray:
    places = np.linspace(0, knots - 1, side)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(knots))).astype(np.float32)
