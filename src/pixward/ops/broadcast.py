"""The one place that shapes a parameter for an image."""

from __future__ import annotations

import torch
from torch import Tensor


def per_image(image: Tensor, value: Tensor | float) -> Tensor:
    """``value``, a number or ``(B,)``, shaped ``(B, 1, 1, 1)`` to multiply ``image`` ``(B, C, H, W)``.

    Raises:
        ValueError: ``value`` is neither a number nor one number per image.
    """
    value = torch.as_tensor(value, dtype=image.dtype, device=image.device)
    if value.ndim == 0 or (value.ndim == 1 and value.shape[0] in (1, image.shape[0])):
        return value.reshape(-1, 1, 1, 1)
    raise ValueError(f"need one number per image: {tuple(value.shape)} does not fit a batch of {image.shape[0]}")
