"""Rewards with one value per pixel: ``(output, target)``, both ``(B, C, H, W)``, to ``(B, H, W)``; higher is better.

What a step gained is the difference of two of these, which :class:`pixward.envs.pixel.PixelEnv` takes.
"""

from __future__ import annotations

from torch import Tensor

from pixward.metrics.image import srgb_to_lab


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """``-255 (target - output)^2``, the mean over channels.

    PixelRL's measure (AAAI 2019) for images in [0, 1]. The factor is the authors' 255, not 255^2.

    Raises:
        ValueError: shapes that differ or are not ``(B, C, H, W)``.
    """
    _check(output, target)
    return -255 * (target - output).square().mean(1)


def lab_distance(output: Tensor, target: Tensor) -> Tensor:
    """``-||Lab(target) - Lab(output)||``, the CIE 1976 difference; both sRGB ``(B, 3, H, W)``. PixelRL's for colour.

    Raises:
        ValueError: shapes that differ or are not ``(B, C, H, W)``.
    """
    _check(output, target)
    return -(srgb_to_lab(target) - srgb_to_lab(output)).square().sum(1).sqrt()


def _check(output: Tensor, target: Tensor) -> None:
    if output.ndim != 4 or output.shape != target.shape:
        raise ValueError(f"need two images of one shape (B, C, H, W), got {tuple(output.shape)}, {tuple(target.shape)}")
