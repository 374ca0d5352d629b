"""Renders of an editor that is slow, made once and kept: what its response is trained on.

A photo is rendered at pairs of nearby settings, see :mod:`pixward.train.response`; a few hundred pixels of each pair
are kept. The bank grows a file at a time, so that a stopped gathering goes on where it was.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixward.data.pairs import random_actions
from pixward.errors import PixwardError
from pixward.files import save_atomic
from pixward.image import quantize
from pixward.types import Editor

Sources = Callable[[int], tuple[Editor, Tensor]]
"""``sources(i)``: what renders photo number i, and the photo itself ``(1, 3, H, W)``."""


@dataclass(frozen=True)
class PixelPairs:
    """Pixels before and after a small move of the sliders.

    Attributes:
        pixels: what a response reads of each pixel, ``(B, N, F)``.
        first, second: the two settings, normalised, ``(B, d)``.
        before, after: the two renders at those pixels, ``(B, N, 3)`` in [0, 1], 8-bit values.
    """

    pixels: Tensor
    first: Tensor
    second: Tensor
    before: Tensor
    after: Tensor


@dataclass(frozen=True)
class Gathering:
    """How a bank is filled.

    Attributes:
        photos: how many photos there are; file k of the bank holds photo ``k % photos``.
        files: how many files.
        pairs: pairs of renders in a file.
        pixels: pixels kept of each pair, the same ones throughout a file.
        nudge: standard deviation of the step between the two settings, in normalised units.
        seed: fixes settings and pixels.
    """

    photos: int
    files: int
    pairs: int = 8
    pixels: int = 400
    nudge: float = 0.1
    seed: int = 0


def gather(
    folder: Path, sources: Sources, features: Callable[[Tensor], Tensor], how: Gathering
) -> Iterator[tuple[int, int]]:
    """Render what the bank in ``folder`` still lacks; yields (files there are, files there will be).

    Raises:
        PixwardError: the editor failed, or the disk is full; what was rendered stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(how.files):
        path = folder / f"{k:06d}.npz"
        if not path.exists():
            editor, photo = sources(k % how.photos)
            save_atomic(path, partial(_write, _render(editor, photo, features, how, k)), force=True)
        yield k + 1, how.files


def _render(
    editor: Editor, photo: Tensor, features: Callable[[Tensor], Tensor], how: Gathering, k: int
) -> dict[str, np.ndarray]:
    generator = torch.Generator().manual_seed(how.seed * 1_000_003 + k)
    sliders = len(editor.space)
    first = random_actions(how.pairs, sliders, generator)
    second = (first + how.nudge * torch.randn(first.shape, generator=generator)).clamp(-1, 1)
    place = torch.randint(photo.shape[2] * photo.shape[3], (how.pixels,), generator=generator)

    def pick(images: Tensor) -> Tensor:
        return images.flatten(2)[:, :, place].transpose(1, 2)

    with torch.no_grad():
        both = editor.space.denormalize(torch.cat([first, second]))
        renders = quantize(editor(photo.expand(2 * how.pairs, -1, -1, -1), both))
        before, after = (pick(renders) * 255).round().to(torch.uint8).chunk(2)
        return {
            "pixels": pick(features(photo))[0].half().numpy(),
            "first": first.numpy(),
            "second": second.numpy(),
            "before": before.numpy(),
            "after": after.numpy(),
        }


def _write(arrays: dict[str, np.ndarray], path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


class RenderBank:
    """The pairs of a gathered folder, in memory; ``draw(n)`` takes n at random by torch's global generator."""

    def __init__(self, folder: Path, *, first: int = 0, last: int | None = None) -> None:
        """``first``, ``last``: which files, as of a slice, so that some can be held out.

        Raises:
            PixwardError: no files, or damaged ones.
        """
        paths = sorted(folder.glob("*.npz"))[first:last]
        if not paths:
            raise PixwardError(f"{folder} holds no renders: gather some first")
        try:
            files = [dict(np.load(path)) for path in paths]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise PixwardError(f"a file of renders in {folder} is damaged: delete it and gather again") from error
        self.pixels = torch.from_numpy(np.stack([file["pixels"] for file in files]))
        self.first, self.second, self.before, self.after = (
            torch.from_numpy(np.stack([file[name] for file in files])).flatten(0, 1)
            for name in ("first", "second", "before", "after")
        )
        self._pairs = len(self.first) // len(files)

    def __len__(self) -> int:
        return len(self.first)

    def draw(self, count: int, pixels: int = 256) -> PixelPairs:
        """``count`` random pairs, ``pixels`` random pixels of each."""
        rows = torch.randint(len(self), (count,))
        return self.take(rows, torch.randint(self.pixels.shape[1], (count, pixels)))

    def take(self, rows: Tensor, places: Tensor) -> PixelPairs:
        """The pairs ``rows`` ``(B,)`` at the pixels ``places`` ``(B, N)``."""
        column, across = rows[:, None], rows[:, None] // self._pairs
        return PixelPairs(
            self.pixels[across, places].float(),
            self.first[rows],
            self.second[rows],
            self.before[column, places].float() / 255,
            self.after[column, places].float() / 255,
        )
