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


def saturation_in_gamut(image: Tensor, vibrance: Tensor | float, saturation: Tensor | float) -> Tensor:
    """Vibrance and saturation that keep every pixel's luma: ``grey + f (x - grey)``, both in [-1, 1].

    ``f = (1 + saturation) (1 + vibrance (1 - (max - min)))``: vibrance spares what is vivid already. Where ``f`` would
    push a channel out of [0, 1] it stops at the rim, since clipping one channel would change the luma, and a grey ramp
    with a colour cast would no longer be monotone.
    """
    grey = luma(image)
    high, low = image.amax(1, keepdim=True), image.amin(1, keepdim=True)
    factor = (1 + per_image(image, saturation)) * (1 + per_image(image, vibrance) * (1 - (high - low)))
    room = torch.minimum((1 - grey) / (high - grey).clamp_min(1e-6), grey / (grey - low).clamp_min(1e-6))
    return (grey + torch.minimum(factor, room) * (image - grey)).clamp(0, 1)
