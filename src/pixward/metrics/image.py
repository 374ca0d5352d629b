"""How near one picture is to another.

Every function takes ``output`` and ``target``, both ``(B, C, H, W)`` in [0, 1], and returns ``(B,)``: the signature of
a reward. For ``psnr`` and ``ssim`` higher is better, for ``mse`` and ``delta_e`` lower. None of them clips its input.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pixward.ops.tone import srgb_to_linear

PSNR_EXACT = 100.0
"""What :func:`psnr` says of two equal pictures, in dB; no other pair gets more."""


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, ``(B,)``, in [0, 1]; 0 is a perfect match.

    Raises:
        ValueError: shapes that differ or are not ``(B, C, H, W)``.
    """
    _check(output, target)
    return (output - target).square().mean((1, 2, 3))


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB for a peak of 1, ``(B,)``; equal pictures get :data:`PSNR_EXACT`.

    Raises:
        ValueError: shapes that differ or are not ``(B, C, H, W)``.
    """
    return -10 * torch.log10(mse(output, target).clamp_min(10 ** (-PSNR_EXACT / 10)))


def ssim(output: Tensor, target: Tensor) -> Tensor:
    """Structural similarity, ``(B,)``, 1 for equal pictures; the mean over channels and all whole windows.

    Wang et al., IEEE TIP 2004, eq. 13: an 11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, data range 1,
    population variance. A side shorter than 11 pixels is given the longest odd window that fits it.

    Raises:
        ValueError: shapes that differ or are not ``(B, C, H, W)``.
    """
    _check(output, target)
    stacked = torch.cat([output, target, output * output, target * target, output * target])
    mean_x, mean_y, square_x, square_y, product = _window_means(stacked).chunk(5)
    c1, c2 = 0.01**2, 0.03**2
    variances = (square_x - mean_x.square()).clamp_min(0) + (square_y - mean_y.square()).clamp_min(0)
    covariance = product - mean_x * mean_y
    light = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    return (light * (2 * covariance + c2) / (variances + c2)).mean((1, 2, 3))


def delta_e(output: Tensor, target: Tensor) -> Tensor:
    """CIEDE2000 colour difference, the mean over pixels, ``(B,)``; about 1 is just noticeable, 0 is equal.

    ``output`` and ``target``: ``(B, 3, H, W)`` sRGB-encoded.

    Raises:
        ValueError: shapes that differ or are not ``(B, 3, H, W)``.
    """
    _check(output, target)
    if output.shape[1] != 3:
        raise ValueError(f"colour difference needs three channels, got {tuple(output.shape)}")
    return ciede2000(srgb_to_lab(output), srgb_to_lab(target)).mean((1, 2))


def srgb_to_lab(image: Tensor) -> Tensor:
    """sRGB-encoded ``(B, 3, H, W)`` to CIE L*a*b* for D65 and the 2 degree observer; L* in [0, 100]."""
    # The rows are divided by the white point (0.95047, 1, 1.08883), so that white is (1, 1, 1) here.
    matrix = torch.tensor(
        [
            [0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047],
            [0.212671, 0.715160, 0.072169],
            [0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883],
        ],
        dtype=image.dtype,
        device=image.device,
    )
    xyz = torch.einsum("ij,bjhw->bihw", matrix, srgb_to_linear(image))
    threshold = (6 / 29) ** 3
    root = torch.where(xyz > threshold, xyz.clamp_min(threshold) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def ciede2000(first: Tensor, second: Tensor) -> Tensor:
    """CIEDE2000 between L*a*b* images ``(B, 3, ...)``, ``(B, ...)``; kL = kC = kH = 1.

    Equations as numbered by Sharma, Wu and Dalal, Color Res. Appl. 30(1), 2005.
    """
    (l1, a1, b1), (l2, a2, b2) = first.unbind(1), second.unbind(1)
    mean_c = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2  # (3)
    g = 0.5 * (1 - _seventh(mean_c))  # (4)
    a1, a2 = a1 * (1 + g), a2 * (1 + g)  # (5)
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)  # (6)
    h1, h2 = torch.atan2(b1, a1), torch.atan2(b2, a2)  # (7), in radians, -pi to pi
    # A grey has no hue: then the hue difference is 0 and the mean hue is the other colour's (10, 14).
    coloured = (c1 * c2 > 0).to(c1)
    turn = torch.remainder(h2 - h1 + math.pi, 2 * math.pi) - math.pi
    delta_h = 2 * (c1 * c2).sqrt() * torch.sin(turn * coloured / 2)  # (11)
    hue = torch.where(coloured > 0, h1 + turn / 2, h1 + h2)  # (14): half way along the shorter arc
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2  # (12, 13)
    t = (
        1
        - 0.17 * torch.cos(hue - math.radians(30))
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6))
        - 0.20 * torch.cos(4 * hue - math.radians(63))
    )  # (15)
    degrees = torch.remainder(hue * (180 / math.pi), 360)
    rotation = torch.sin(math.radians(60) * torch.exp(-(((degrees - 275) / 25) ** 2)))  # (16)
    r_t = -2 * _seventh(chroma) * rotation  # (17, 21)
    off = (light - 50).square()
    delta_l = (l2 - l1) / (1 + 0.015 * off / (20 + off).sqrt())  # (8, 18)
    delta_c = (c2 - c1) / (1 + 0.045 * chroma)  # (9, 19)
    delta_h = delta_h / (1 + 0.015 * chroma * t)  # (20)
    total = delta_l.square() + delta_c.square() + delta_h.square() + r_t * delta_c * delta_h  # (22)
    return total.clamp_min(0).sqrt()


def _seventh(chroma: Tensor) -> Tensor:
    """``sqrt(C^7 / (C^7 + 25^7))``, written so that float32 does not overflow."""
    ratio = (chroma / 25) ** 7
    return (ratio / (ratio + 1)).sqrt()


def _window_means(images: Tensor) -> Tensor:
    """Gaussian means over every whole window of ``(N, C, H, W)``."""
    for axis in (2, 3):
        length = images.shape[axis]
        half = (min(11, length) - 1) // 2
        weights = [math.exp(-0.5 * (offset / 1.5) ** 2) for offset in range(half + 1)]
        total = weights[0] + 2 * sum(weights[1:])
        whole = length - 2 * half
        # Sums of shifted views: on a CPU some seven times as fast as a depthwise convolution.
        sums = images.narrow(axis, half, whole) * (weights[0] / total)
        for offset in range(1, half + 1):
            for start in (half - offset, half + offset):
                sums.add_(images.narrow(axis, start, whole), alpha=weights[offset] / total)
        images = sums
    return images


def _check(output: Tensor, target: Tensor) -> None:
    if output.ndim != 4 or output.shape != target.shape:
        raise ValueError(f"need two images of one shape (B, C, H, W), got {tuple(output.shape)}, {tuple(target.shape)}")
