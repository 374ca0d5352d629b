"""Rewards for pictures: ``(output, target)``, both ``(B, C, H, W)`` in [0, 1], to ``(B,)``; higher is better.

A metric that already rises with quality is its own reward and is only named again here. What a step *gained* is the
difference of two rewards, which the environment takes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pixward.metrics.image import mse, psnr, srgb_to_lab, ssim

__all__ = ["colourfulness", "neg_mse", "psnr", "ssim"]

HUES = 7
"""Bins of :func:`colourfulness`; ln 7 = 1.946 is the most that it gives."""


def neg_mse(output: Tensor, target: Tensor) -> Tensor:
    """Minus the mean squared error, ``(B,)``, in [-1, 0].

    Raises:
        ValueError: shapes that differ or are not ``(B, C, H, W)``.
    """
    return -mse(output, target)


def colourfulness(output: Tensor, target: Tensor | None = None, vivid: float = 10.0) -> Tensor:
    """Share of vivid pixels times the entropy of their hues, ``(B,)``, in [0, ln 7].

    "Tuning computer vision models with task rewards" (ICML 2023): a pixel is vivid where ``a^2 + b^2`` of its L*a*b*
    colour exceeds ``vivid``, its hue is ``atan2(b, a)`` in seven equal bins, entropy is in nats. Whether the paper's
    threshold is 10 could not be checked. Nothing is compared with: a rainbow gets the most, so hold it against a
    measure that looks at the target.

    Args:
        output: ``(B, 3, H, W)`` sRGB in [0, 1].
        target: not looked at; there so that it is called like any other reward.
        vivid: the threshold, in squared L*a*b* units.

    Raises:
        ValueError: not ``(B, 3, H, W)``, no pixels, or a picture with NaN, with its item.
    """
    if output.ndim != 4 or output.shape[1] != 3 or output.shape[2:].numel() == 0:
        raise ValueError(f"colourfulness needs pictures (B, 3, H, W) with pixels, got {tuple(output.shape)}")
    finite = output.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        raise ValueError(f"output: item {int((~finite).nonzero()[0])} has pixels that are no finite numbers")
    _, a, b = srgb_to_lab(output).flatten(2).unbind(1)
    counted = (a.square() + b.square() > vivid).to(output)
    hue = ((torch.atan2(b, a) + math.pi) * (HUES / (2 * math.pi))).long().clamp(0, HUES - 1)
    bins = torch.zeros(len(output), HUES, dtype=output.dtype, device=output.device).scatter_add_(1, hue, counted)
    share = bins / bins.sum(1, keepdim=True).clamp_min(1)
    return counted.mean(1) * torch.special.entr(share).sum(1)
