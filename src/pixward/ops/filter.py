"""Filters: functions of a pixel and its neighbours, on ``(B, C, H, W)`` images in [0, 1]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.ops.broadcast import per_image

PREVIEW_SIDE = 256
"""Longest side of the previews that searches work on, in pixels."""


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian, truncated at 3 sigma, borders replicated. ``sigma`` in pixels; 0 returns the image."""
    if sigma <= 0:
        return image
    radius = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = image.shape[1]
    row = kernel.view(1, 1, 1, -1).expand(channels, -1, -1, -1)
    column = kernel.view(1, 1, -1, 1).expand(channels, -1, -1, -1)
    image = F.conv2d(F.pad(image, (radius, radius, 0, 0), mode="replicate"), row, groups=channels)
    return F.conv2d(F.pad(image, (0, 0, radius, radius), mode="replicate"), column, groups=channels)


def local_mean(grey: Tensor, fraction: float, working_side: int) -> Tensor:
    """Gaussian mean of ``grey`` ``(B, 1, H, W)`` with sigma = ``fraction`` of the longest side, at least of 256 px.

    The floor keeps the filter meaningful on crops and thumbnails: there it does what it does on a 256 px preview.
    Blurs at no more than ``working_side`` pixels and enlarges the result: a wide blur has no fine detail to lose, and
    a 24-megapixel picture then costs hardly more than its reduction.
    """
    height, width = grey.shape[-2:]
    longest = max(height, width)
    if longest <= working_side:
        return gaussian_blur(grey, fraction * max(longest, PREVIEW_SIDE))
    scale = working_side / longest
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = gaussian_blur(F.interpolate(grey, size, mode="area"), fraction * working_side)
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


def paper_texture(image: Tensor, factor: Tensor | float) -> Tensor:
    """RLPixTuner's texture: ``p x + (1 - p) blur(x)``, ``p`` in [0, 2], 1 is the identity.

    The blur is 3x3, ones with a centre of 5, divided by 13; border pixels stay as they are.
    """
    if min(image.shape[-2:]) < 3:
        return image
    total = F.avg_pool2d(image, 3, stride=1) * 9
    inner = image[..., 1:-1, 1:-1]
    blurred = (total + 4 * inner) / 13
    mixed = torch.lerp(blurred, inner, per_image(image, factor)).clamp(0, 1)
    return torch.cat(
        [
            image[..., :1, :],
            torch.cat([image[..., 1:-1, :1], mixed, image[..., 1:-1, -1:]], -1),
            image[..., -1:, :],
        ],
        -2,
    )
