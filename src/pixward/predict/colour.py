"""Colours as a task of tokens: a grey picture's cells get colours of a palette, colourfulness is the reward.

The reward sees no truth, and a rainbow earns the most. So everything else that is measured here looks at the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.data.colours import ColourTokens, to_grey
from pixward.image import resize_to
from pixward.metrics.frechet import frechet_distance
from pixward.metrics.image import delta_e, psnr, srgb_to_lab
from pixward.predict.task import Shown, Source
from pixward.rewards.image import colourfulness
from pixward.train.task import RewardTask
from pixward.types import Decoding, Samples

Batch = Mapping[str, Any]

BINS = 12
"""Hues that :func:`hue_histogram` tells apart: finer ones find fault with any palette, also where it is used right."""


@dataclass(frozen=True)
class ColourReward:
    """Colourfulness of the pictures that tokens ``(B, K, L)`` tell of, in [0, ln 7].

    Of the pictures as they are shown, with what sRGB cannot show clipped, at the size that the policy reads.

    Attributes:
        kind: the palette.
    """

    kind: ColourTokens

    __name__ = "colourfulness"

    def __call__(self, tokens: Tensor, batch: Batch) -> Tensor:
        """``(B, K)`` for a batch with grey ``images`` ``(B, 1, H, W)``."""
        return colourfulness(self.pictures(tokens, batch["images"])).view(tokens.shape[:2])

    def pictures(self, tokens: Tensor, grey: Tensor) -> Tensor:
        """The coloured pictures of all samples, ``(B * K, 3, H, W)``."""
        return self.kind.decode(tokens.flatten(0, 1), grey.repeat_interleave(tokens.shape[1], 0))


@dataclass(frozen=True)
class ColourTask:
    """A colour for each cell of a grey picture; a :class:`pixward.predict.task.PredictTask`.

    Attributes:
        kind: the palette and the cells.
    """

    kind: ColourTokens

    name = "colour"
    channels = 1

    @staticmethod
    def of(source: Source, count: int = 300, colours: int = 32, cells: int = 8) -> ColourTask:
        """The palette of the first ``count`` pictures of ``source``: the training split.

        Raises:
            ValueError: fewer cells than colours.
        """
        return ColourTask(ColourTokens.fit(source.batch(range(count)).images, colours, cells))

    @staticmethod
    def from_description(description: Mapping[str, Any]) -> ColourTask:
        """The inverse of :meth:`describe`; raises KeyError or TypeError for what it did not say."""
        palette = tuple((float(a), float(b)) for a, b in description["palette"])
        return ColourTask(ColourTokens(palette, int(description["cells"])))

    @property
    def reward(self) -> ColourReward:
        """What colours earn."""
        return ColourReward(self.kind)

    def lessons(self, source: Source, batch: int, seed: int = 0) -> Callable[[int], Batch]:
        """Batches with grey ``images`` and the ``tokens`` of their true colours; nothing is drawn."""

        def draw(index: int) -> Batch:
            shown = source.batch(range(index * batch, (index + 1) * batch)).images
            return {"images": to_grey(shown), "tokens": self.kind.encode(shown)}

        return draw

    def rewarded(self, source: Source, batch: int) -> RewardTask:
        """Colourfulness; monitors of how far each picture's first sample is from the truth."""

        def draw(index: int) -> Batch:
            shown = source.batch(range(index * batch, (index + 1) * batch)).images
            return {"images": to_grey(shown), "truth": shown}

        def first(samples: Samples, batch: Batch) -> Tensor:
            return self.reward.pictures(samples.tokens[:, :1], batch["images"])

        monitors: dict[str, Callable[[Samples, Batch], Tensor]] = {
            "sampled_psnr": lambda samples, batch: psnr(first(samples, batch), batch["truth"]),
            "sampled_chroma_error": lambda samples, batch: chroma_error(first(samples, batch), batch["truth"]),
        }
        return RewardTask(draw, [self.reward], (), monitors)

    @torch.no_grad()
    def evaluate(
        self, policy: nn.Module, source: Source, count: int = 500, decoding: Decoding | None = None, batch: int = 50
    ) -> dict[str, float]:
        """Colourfulness and how far from the truth, over the first ``count`` pictures of ``source``.

        Means over pictures: ``colourfulness`` and ``true_colourfulness``, ``vivid`` and ``true_vivid`` (shares of
        pixels), ``psnr`` (dB), ``delta_e`` (CIEDE2000), ``chroma_error``, ``right_cells`` (shares that have
        the palette's nearest colour). Over all cells together: ``frechet``, of their ``(a*, b*)`` in squared Lab units
        (:mod:`pixward.metrics.frechet`), and ``hue_distance``, see :func:`hue_histogram`. ``best_colourfulness`` and
        ``best_psnr`` are those of the true tokens, which are coarser than the truth.
        """
        device = next(policy.parameters()).device
        policy.eval()
        sums: dict[str, float] = {}
        cells: list[tuple[Tensor, Tensor]] = []
        for start in range(0, count, batch):
            true = source.batch(range(start, min(start + batch, count))).images
            grey = to_grey(true)
            tokens = self._say(policy, grey.to(device), decoding, start).cpu()
            right = self.kind.encode(true)
            told, best = self.kind.decode(tokens, grey), self.kind.decode(right, grey)
            figures = {
                "colourfulness": colourfulness(told),
                "best_colourfulness": colourfulness(best),
                "true_colourfulness": colourfulness(true),
                "vivid": vivid_share(told),
                "true_vivid": vivid_share(true),
                "psnr": psnr(told, true),
                "best_psnr": psnr(best, true),
                "delta_e": delta_e(told, true),
                "chroma_error": chroma_error(told, true),
                "right_cells": (tokens == right).float().mean(1),
            }
            for name, values in figures.items():
                sums[name] = sums.get(name, 0.0) + values.double().sum().item()
            cells.append((cell_colours(told, self.kind.cells), cell_colours(true, self.kind.cells)))
        said, meant = (torch.cat(part) for part in zip(*cells, strict=True))
        apart = (hue_histogram(said) - hue_histogram(meant)).abs().sum() / 2
        together = {"frechet": frechet_distance(said, meant), "hue_distance": float(apart)}
        return {name: value / count for name, value in sums.items()} | together

    @torch.no_grad()
    def show(self, policy: nn.Module, image: Tensor, decoding: Decoding | None = None) -> Shown:
        """``image`` ``(3, H, W)``, any size, in the colours that ``policy`` gives it; its own L* stays.

        ``said["colours"]`` has the ``(a*, b*)`` of each cell, row by row.
        """
        side = policy.settings.image  # type: ignore[union-attr]
        device = next(policy.parameters()).device
        small = resize_to(to_grey(image[None].to(device)), (side, side)).clamp(0, 1)  # type: ignore[arg-type]
        tokens = self._say(policy, small, decoding, 0).cpu()
        colours = [list(self.kind.palette[token - 1]) for token in tokens[0].tolist()]
        rows = [colours[row : row + self.kind.cells] for row in range(0, len(colours), self.kind.cells)]
        return Shown(self.kind.decode(tokens, image[None].cpu())[0], {"task": self.name, "colours": rows})

    def describe(self) -> dict[str, Any]:
        """Palette and cells."""
        return {"task": self.name, "palette": [list(colour) for colour in self.kind.palette], "cells": self.kind.cells}

    def _say(self, policy: nn.Module, grey: Tensor, decoding: Decoding | None, seed: int) -> Tensor:
        """One set of colours for each picture, ``(B, L)``."""
        generator = torch.Generator().manual_seed(seed)
        samples: Samples = policy.sample(grey, 1, decoding or Decoding(0), generator)  # type: ignore[operator]
        return samples.tokens[:, 0]


# --- figures ------------------------------------------------------------------------------------------------------


def chroma_error(output: Tensor, target: Tensor) -> Tensor:
    """Distance of ``(a*, b*)`` from the truth's, the mean over pixels of sRGB ``(B, 3, H, W)``: ``(B,)``."""
    apart = srgb_to_lab(output)[:, 1:] - srgb_to_lab(target)[:, 1:]
    return apart.square().sum(1).sqrt().mean((1, 2))


def vivid_share(pictures: Tensor, vivid: float = 10.0) -> Tensor:
    """Share of the pixels of sRGB ``(B, 3, H, W)`` with ``a*^2 + b*^2`` above ``vivid``, ``(B,)``."""
    return (srgb_to_lab(pictures)[:, 1:].square().sum(1) > vivid).double().mean((1, 2))


def cell_colours(pictures: Tensor, cells: int) -> Tensor:
    """Mean ``(a*, b*)`` of every cell of all sRGB ``pictures`` ``(B, 3, H, W)``: ``(B * cells^2, 2)`` float64."""
    return F.adaptive_avg_pool2d(srgb_to_lab(pictures)[:, 1:], cells).permute(0, 2, 3, 1).reshape(-1, 2).double()


def hue_histogram(colours: Tensor, bins: int = BINS, vivid: float = 10.0) -> Tensor:
    """Shares of hues among ``(a*, b*)`` ``(N, 2)``, and last the share of those that are not vivid: ``(bins + 1,)``.

    Half the sum of absolute differences of two of them is a distance in [0, 1].
    """
    hue = ((torch.atan2(colours[:, 1], colours[:, 0]) + math.pi) * (bins / (2 * math.pi))).long().clamp(0, bins - 1)
    place = torch.where(colours.square().sum(1) > vivid, hue, bins)
    return place.bincount(minlength=bins + 1).double() / len(colours)
