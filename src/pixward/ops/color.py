"""Colour: functions of one pixel's three channels, on ``(B, 3, H, W)`` images in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from pixward.ops.broadcast import per_image

REC709 = (0.2126, 0.7152, 0.0722)
"""Luma weights of sRGB's primaries."""
REC601 = (0.2989, 0.587, 0.114)
"""Luma weights that RLPixTuner's saturation uses."""

_OKLAB_CONE = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
"""Linear sRGB to cone responses, as Ottosson gives it."""
_OKLAB_OPPONENT = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
"""Cube roots of cone responses to L, a and b."""


def luma(image: Tensor, weights: tuple[float, float, float] = REC709) -> Tensor:
    """Weighted sum of the channels, ``(B, 1, H, W)``."""
    red, green, blue = image.unbind(1)
    return (weights[0] * red + weights[1] * green + weights[2] * blue).unsqueeze(1)


def linear_to_oklab(linear: Tensor) -> Tensor:
    """Linear sRGB light ``(B, 3, H, W)`` to OKLab (Ottosson, "A perceptual color space for image processing", 2020).

    L in [0, 1], a and b within about 0.4 of 0; distances are near to what people see.
    """
    cone = torch.tensor(_OKLAB_CONE, dtype=linear.dtype, device=linear.device)
    opponent = torch.tensor(_OKLAB_OPPONENT, dtype=linear.dtype, device=linear.device)
    # The cube root's slope is infinite at black: a floor far below 8 bit's first step keeps gradients finite.
    root = torch.einsum("ij,bjhw->bihw", cone, linear).clamp_min(1e-6).pow(1 / 3)
    return torch.einsum("ij,bjhw->bihw", opponent, root)


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
