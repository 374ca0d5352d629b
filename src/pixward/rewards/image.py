"""Rewards for pictures: ``(output, target)``, both ``(B, C, H, W)`` in [0, 1], to ``(B,)``; higher is better.

A metric that already rises with quality is its own reward and is only named again here. What a step *gained* is the
difference of two rewards, which the environment takes.
"""

from __future__ import annotations

from torch import Tensor

from pixward.metrics.image import mse, psnr, ssim

__all__ = ["neg_mse", "psnr", "ssim"]


def neg_mse(output: Tensor, target: Tensor) -> Tensor:
    """Minus the mean squared error, ``(B,)``, in [-1, 0].

    Raises:
        ValueError: shapes that differ or are not ``(B, C, H, W)``.
    """
    return -mse(output, target)
