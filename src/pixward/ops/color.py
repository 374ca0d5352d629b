"""Colour: functions of one pixel's three channels, on ``(B, 3, H, W)`` images in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from pixward.ops.broadcast import per_image

REC709 = (0.2126, 0.7152, 0.0722)
"""Luma weights of sRGB's primaries."""
REC601 = (0.2989, 0.587, 0.114)
"""Luma weights that RLPixTuner's saturation uses."""


def luma(image: Tensor, weights: tuple[float, float, float] = REC709) -> Tensor:
    """Weighted sum of the channels, ``(B, 1, H, W)``."""
    red, green, blue = image.unbind(1)
    return (weights[0] * red + weights[1] * green + weights[2] * blue).unsqueeze(1)


def channel_gains(image: Tensor, gains: Tensor) -> Tensor:
    """Multiply the channels by ``gains`` ``(B, 3)`` and clip to [0, 1]."""
    return (image * gains[:, :, None, None]).clamp(0, 1)


def white_balance_gains(temperature: Tensor, tint: Tensor) -> Tensor:
    """Channel gains ``(B, 3)`` for linear light from two sliders ``(B,)`` in [-1, 1].

    Warm raises red against blue, magenta lowers green. Divided by the luma of the gains, so that a grey keeps its
    brightness: R = e^(.35 t + .1 m), G = e^(-.2 m), B = e^(-.35 t + .1 m).
    """
    log = torch.stack([0.35 * temperature + 0.1 * tint, -0.2 * tint, -0.35 * temperature + 0.1 * tint], 1)
    gains = log.exp()
    weights = torch.tensor(REC709, dtype=gains.dtype, device=gains.device)
    return gains / (gains * weights).sum(1, keepdim=True)


def saturation(image: Tensor, amount: Tensor | float, weights: tuple[float, float, float] = REC709) -> Tensor:
    """``grey + (1 + p)(x - grey)``, clipped, ``p`` in [-1, 1]: -1 is grey, 1 doubles the distance from grey."""
    grey = luma(image, weights)
    return (grey + (1 + per_image(image, amount)) * (image - grey)).clamp(0, 1)


def vibrance(image: Tensor, amount: Tensor | float) -> Tensor:
    """Saturation that spares what is vivid already: factor ``1 + p (1 - (max - min))``, clipped, ``p`` in [-1, 1]."""
    grey = luma(image)
    chroma = image.amax(1, keepdim=True) - image.amin(1, keepdim=True)
    return (grey + (1 + per_image(image, amount) * (1 - chroma)) * (image - grey)).clamp(0, 1)
