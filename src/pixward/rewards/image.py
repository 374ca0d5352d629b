"""Rewards for pictures: ``(output, target)``, both ``(B, C, H, W)`` in [0, 1], to ``(B,)``; higher is better.

A metric that already rises with quality is its own reward and is only named again here. What a step *gained* is the
difference of two rewards, which the environment takes.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixward.metrics.image import mse, psnr, srgb_to_lab, ssim

__all__ = ["colourfulness", "compressibility", "incompressibility", "neg_mse", "psnr", "ssim"]

HUES = 7
"""Bins of :func:`colourfulness`; ln 7 = 1.946 is the most that it gives."""

QUALITY = 95
"""Pillow's JPEG quality in DDPO's rewards; colour is stored at half the resolution, Pillow's default."""


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
    _check_pictures("colourfulness", output)
    _, a, b = srgb_to_lab(output).flatten(2).unbind(1)
    counted = (a.square() + b.square() > vivid).to(output)
    hue = ((torch.atan2(b, a) + math.pi) * (HUES / (2 * math.pi))).long().clamp(0, HUES - 1)
    bins = torch.zeros(len(output), HUES, dtype=output.dtype, device=output.device).scatter_add_(1, hue, counted)
    share = bins / bins.sum(1, keepdim=True).clamp_min(1)
    return counted.mean(1) * torch.special.entr(share).sum(1)


def incompressibility(output: Tensor, target: object = None, *, floor: bool = False) -> Tensor:
    """How much a JPEG of each picture holds, ``(B,)`` float32, in kB of 1000 bytes.

    "Training Diffusion Models with Reinforcement Learning" (DDPO, 2023), section 5.1: rounded to 8 bits, encoded by
    Pillow at quality 95. Sizes grow with the area, so compare only pictures of one size. No gradient flows.

    Args:
        output: ``(B, 3, H, W)`` sRGB; values outside [0, 1] count as the nearest within.
        target: not looked at; there so that it is called like any other reward.
        floor: subtract the size of a blank picture of that size (mid-grey, the smallest there is), so that 0 means
            blank: 0.64 kB of 32 x 32 pixels are the file's header.

    Raises:
        ValueError: not ``(B, 3, H, W)``, no pixels, or a picture with NaN, with its item.
    """
    _check_pictures("the size of a JPEG", output)
    pixels = (output.detach() * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    least = _blank_bytes(*pixels.shape[1:3]) if floor else 0
    return torch.tensor([(_jpeg_bytes(picture) - least) / 1000 for picture in pixels]).to(output.device)


def compressibility(output: Tensor, target: object = None, *, floor: bool = False) -> Tensor:
    """Minus :func:`incompressibility`: small files get more. At most 0, which with ``floor`` means a blank picture.

    A model that is tuned for this alone ends at blank pictures: watch what they show beside it.
    """
    return -incompressibility(output, target, floor=floor)


def _jpeg_bytes(pixels: np.ndarray) -> int:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    return buffer.tell()


@lru_cache(maxsize=64)
def _blank_bytes(height: int, width: int) -> int:
    """Bytes of a picture whose every coefficient is 0, which is mid-grey: every other needs at least as many."""
    return _jpeg_bytes(np.full((height, width, 3), 128, np.uint8))


def _check_pictures(what: str, output: Tensor) -> None:
    if output.ndim != 4 or output.shape[1] != 3 or output.shape[2:].numel() == 0:
        raise ValueError(f"{what} needs pictures (B, 3, H, W) with pixels, got {tuple(output.shape)}")
    finite = output.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        raise ValueError(f"output: item {int((~finite).nonzero()[0])} has pixels that are no finite numbers")
