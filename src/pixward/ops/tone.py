"""Tone: functions of each channel's value alone, on ``(B, C, H, W)`` images in [0, 1].

The curves used by ``chain:photo`` have the form ``y = x + a * phi(x)`` with ``|a * phi'(x)| <= 1`` for every ``a`` in
[-1, 1], so each is monotone, and so is any sequence of them. The curves named ``paper_*`` are RLPixTuner's
(NeurIPS 2024, released filters); some of those invert tones near the ends of their range.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pixward.ops.broadcast import per_image

_TINY = 1e-6


def srgb_to_linear(image: Tensor) -> Tensor:
    """sRGB-encoded [0, 1] to linear light [0, 1] (IEC 61966-2-1)."""
    # Both branches of `where` are differentiated: keep the power away from 0, where its gradient is infinite.
    power = ((image.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(image <= 0.04045, image / 12.92, power)


def linear_to_srgb(image: Tensor) -> Tensor:
    """Linear light [0, 1] to sRGB-encoded [0, 1] (IEC 61966-2-1)."""
    power = 1.055 * image.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(image <= 0.0031308, image * 12.92, power)


def exposure(image: Tensor, ev: Tensor | float) -> Tensor:
    """``x * 2^ev``, clipped to [0, 1], on the values as they are (encoded or linear). ``ev``: number or ``(B,)``.

    >>> exposure(torch.full((1, 3, 1, 1), 0.25), 1.0).amax()
    tensor(0.5000)
    """
    return (image * torch.exp2(per_image(image, ev))).clamp(0, 1)


def contrast(image: Tensor, amount: Tensor | float) -> Tensor:
    """S-curve around 0.5: ``x + 0.9 a x (1 - x)(2 x - 1)``, ``a`` in [-1, 1]; slope at the middle 1 + 0.45 a."""
    a = per_image(image, amount)
    return image + 0.9 * a * image * (1 - image) * (2 * image - 1)


def highlights(image: Tensor, amount: Tensor | float) -> Tensor:
    """Raise or lower the bright tones, ends fixed: ``x + 0.95 a x^2 (1 - x)``, ``a`` in [-1, 1]."""
    return image + 0.95 * per_image(image, amount) * image * image * (1 - image)


def shadows(image: Tensor, amount: Tensor | float) -> Tensor:
    """Raise or lower the dark tones, ends fixed: ``x + 0.95 a x (1 - x)^2``, ``a`` in [-1, 1]."""
    rest = 1 - image
    return image + 0.95 * per_image(image, amount) * image * rest * rest


def whites(image: Tensor, amount: Tensor | float) -> Tensor:
    """Move the white end by a quarter: ``x + 0.25 a x^3``, clipped, ``a`` in [-1, 1]."""
    return (image + 0.25 * per_image(image, amount) * image * image * image).clamp(0, 1)


def blacks(image: Tensor, amount: Tensor | float) -> Tensor:
    """Move the black end by a fifth: ``x + 0.2 a (1 - x)^3``, clipped, ``a`` in [-1, 1]."""
    rest = 1 - image
    return (image + 0.2 * per_image(image, amount) * rest * rest * rest).clamp(0, 1)


def paper_contrast(image: Tensor, amount: Tensor | float) -> Tensor:
    """RLPixTuner's contrast: ``lerp(x, x (1/2 - cos(pi L)/2) / (L + 1e-6), p)``, L = .27 R + .67 G + .06 B."""
    red, green, blue = image.unbind(1)
    luma = (0.27 * red + 0.67 * green + 0.06 * blue).unsqueeze(1)
    factor = (0.5 - 0.5 * torch.cos(math.pi * luma)) / (luma + _TINY)
    return (image * (1 + per_image(image, amount) * (factor - 1))).clamp(0, 1)


def paper_highlights(image: Tensor, amount: Tensor | float) -> Tensor:
    """RLPixTuner's highlights on HSV value: ``V' = 1 - (1 - V)(1 - 13 p sigmoid(13 (V - 1)))``."""
    value = image.amax(1, keepdim=True)
    new = 1 - (1 - value) * (1 - 13 * per_image(image, amount) * torch.sigmoid(13 * (value - 1)))
    return _with_value(image, value, new)


def paper_shadows(image: Tensor, amount: Tensor | float) -> Tensor:
    """RLPixTuner's shadows on HSV value: ``V' = V (1 + 12 p (1 - sigmoid(12 V)))``."""
    value = image.amax(1, keepdim=True)
    new = value * (1 + 12 * per_image(image, amount) * (1 - torch.sigmoid(12 * value)))
    return _with_value(image, value, new)


def _with_value(image: Tensor, value: Tensor, new: Tensor) -> Tensor:
    """The same hue and saturation at another HSV value: every channel is scaled alike; black turns grey."""
    scaled = image * (new / value.clamp_min(_TINY))
    return torch.where(value > 0, scaled, new).clamp(0, 1)
