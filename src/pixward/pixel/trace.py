"""What a pixel policy did: its action maps, from which every picture on the way can be made again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pixward.metrics.image import psnr
from pixward.ops.pixel import ActionSet
from pixward.pixel.edits import Edits


@dataclass(frozen=True, eq=False)
class Trace:
    """One run on a batch of images.

    Attributes:
        actions: what the indices in ``maps`` stand for.
        start: the images before the first step, ``(B, C, H, W)``.
        maps: which action each pixel took in each step, ``(T, B, H, W)``, uint8.
        result: the images after the last step, unclipped.
        condition: ``(B, K, H, W)``, what the policy was told beside the image, or None.
    """

    actions: ActionSet
    start: Tensor
    maps: Tensor
    result: Tensor
    condition: Tensor | None = None

    def images(self) -> Iterator[Tensor]:
        """The images before the first step and after each, ``T + 1`` of ``(B, C, H, W)``, computed again."""
        image = self.start
        yield image
        for chosen in self.maps:
            image = self.actions.apply(image, chosen, self.condition)
            yield image

    def item(self, index: int) -> Trace:
        """The same for one image of the batch."""
        part = slice(index, index + 1)
        known = None if self.condition is None else self.condition[part]
        return Trace(self.actions, self.start[part], self.maps[:, part], self.result[part], known)

    def shares(self) -> list[dict[str, float]]:
        """For each step the share of pixels that took each action, by name; each adds up to 1."""
        total = self.maps[0].numel()
        counts = [self.actions.counts(chosen) for chosen in self.maps]
        return [{name: n / total for name, n in zip(self.actions.names, row, strict=True)} for row in counts]

    def changes(self) -> list[float]:
        """For each step the mean absolute change of a value, in 255ths."""
        return [float((b - a).abs().mean() * 255) for a, b in itertools.pairwise(self.images())]

    def psnr(self, clean: Tensor) -> list[float]:
        """PSNR in dB against ``clean`` before the first step and after each, the mean over the batch.

        Scored as the authors do: clipped to [0, 1] and rounded to 8 bit, for scoring only.
        """
        return [float(psnr(rounded(image), rounded(clean)).mean()) for image in self.images()]

    def history(self, row: int, column: int, item: int = 0) -> list[PixelStep]:
        """What one pixel did, step by step.

        Raises:
            ValueError: there is no such pixel.
        """
        height, width = self.maps.shape[-2:]
        if not (0 <= row < height and 0 <= column < width and 0 <= item < self.maps.shape[1]):
            raise ValueError(f"there is no pixel in row {row}, column {column} of {height} x {width}, item {item}")
        values = [tuple(image[item, :, row, column].tolist()) for image in self.images()]
        names = [self.actions.names[int(chosen)] for chosen in self.maps[:, item, row, column]]
        return [PixelStep(name, *pair) for name, pair in zip(names, itertools.pairwise(values), strict=True)]


@dataclass(frozen=True)
class PixelStep:
    """One step of one pixel.

    Attributes:
        action: what it did.
        before: its value before, one number per channel.
        after: its value after.
    """

    action: str
    before: tuple[float, ...]
    after: tuple[float, ...]


@torch.inference_mode()
def replay(
    actions: ActionSet, image: Tensor, maps: Tensor, edits: Edits | None = None, condition: Tensor | None = None
) -> Trace:
    """Do the actions of ``maps`` ``(T, B, H, W)`` to ``image`` ``(B, C, H, W)``, without asking a policy.

    ``condition`` ``(B, K, H, W)`` is for actions that read one.

    Raises:
        ValueError: shapes that do not fit, an unknown action, or edits that forbid one: only a policy knows what a
            pixel would have done instead.
    """
    if edits is not None and edits.forbidden:
        raise ValueError("a replay cannot forbid an action, since it knows no second choice: replace it instead")
    if edits is not None:
        edits.check((image.shape[2], image.shape[3]))
        maps = edits.change(maps)
    start = image
    for chosen in maps:
        image = actions.apply(image, chosen, condition)
    return Trace(actions, start, maps, image, condition)


def rounded(image: Tensor) -> Tensor:
    """Clipped to [0, 1] and rounded half up to the 256 values of an 8-bit file, as the authors score."""
    return (image.clamp(0, 1) * 255 + 0.5).floor().clamp_max(255) / 255
