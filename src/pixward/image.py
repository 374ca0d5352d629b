"""Pictures in and out."""

from __future__ import annotations

from torch import Tensor


def quantize(image: Tensor) -> Tensor:
    """Round to the 256 values that an 8-bit file can hold; stays float32 in [0, 1]."""
    return (image.clamp(0, 1) * 255).round() / 255
