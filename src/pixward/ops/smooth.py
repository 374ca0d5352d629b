"""The smoothing filters of PixelRL (AAAI 2019), on ``(B, C, H, W)`` float images of any range, plane by plane.

Nothing is clipped. Every function gives OpenCV's result to 1e-6, borders included: the median repeats the border
pixel (``aabcdd``), the others mirror around it (``cbabcb``). On a CPU OpenCV itself does the work where it is
installed, since it is faster; elsewhere, and where gradients are wanted, the same arithmetic runs in torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

_SIDE, _REACH = 5, 2  # every filter sees 5 x 5 pixels

HAS_OPENCV = find_spec("cv2") is not None
"""Whether OpenCV can be imported; set to False to do without it."""


def gaussian_5x5(image: Tensor, sigma: float) -> Tensor:
    """Gaussian mean over 5 x 5 pixels; ``sigma`` in pixels."""
    if _opencv_can(image):
        import cv2

        return _each_plane(image, lambda plane: cv2.GaussianBlur(plane, (_SIDE, _SIDE), sigma))
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-_REACH, _REACH + 1)]
    return _separable(image, [weight / sum(weights) for weight in weights])


def box_5x5(image: Tensor) -> Tensor:
    """Mean over 5 x 5 pixels."""
    if _opencv_can(image):
        import cv2

        return _each_plane(image, lambda plane: cv2.boxFilter(plane, -1, (_SIDE, _SIDE)))
    return _separable(image, [1 / _SIDE] * _SIDE)


def median_5x5(image: Tensor) -> Tensor:
    """Median of 5 x 5 pixels, exactly."""
    if _opencv_can(image):
        import cv2

        return _each_plane(image, lambda plane: cv2.medianBlur(plane, _SIDE))
    height, width = image.shape[-2:]
    rows, columns = (torch.arange(-_REACH, size + _REACH).clamp(0, size - 1) for size in (height, width))
    padded = image[..., rows.to(image.device), :][..., columns.to(image.device)]
    wires = [padded[..., y : y + height, x : x + width] for y in range(_SIDE) for x in range(_SIDE)]
    for low, high, keep_low, keep_high in _median_network(len(wires)):
        a, b = wires[low], wires[high]
        if keep_low:
            wires[low] = torch.minimum(a, b)
        if keep_high:
            wires[high] = torch.maximum(a, b)
    return wires[len(wires) // 2]


def bilateral_5(image: Tensor, sigma_colour: float, sigma_space: float) -> Tensor:
    """Bilateral filter over the 13 pixels within a distance of 2 (OpenCV's d = 5 is a disc, not a square).

    Weights ``exp(-d^2 / 2 sigma_space^2 - (x - x0)^2 / 2 sigma_colour^2)``; ``sigma_colour`` in the image's unit.
    """
    if _opencv_can(image):
        import cv2

        return _each_plane(image, lambda plane: cv2.bilateralFilter(plane, _SIDE, sigma_colour, sigma_space))
    height, width = image.shape[-2:]
    padded = _mirrored(image, (2, 3))
    total, weights = image, torch.ones_like(image)
    span = range(-_REACH, _REACH + 1)
    for dy, dx in ((y, x) for y in span for x in span if 0 < x * x + y * y <= _REACH**2):
        near = padded[..., _REACH + dy : _REACH + dy + height, _REACH + dx : _REACH + dx + width]
        space = (dx * dx + dy * dy) / (2 * sigma_space**2)
        weight = torch.exp(-(near - image).square() / (2 * sigma_colour**2) - space)
        total = total + weight * near
        weights = weights + weight
    return total / weights


def _opencv_can(image: Tensor) -> bool:
    """Whether OpenCV is the way for ``image``: float32 on the CPU, and nobody asks for gradients."""
    if not HAS_OPENCV or image.device.type != "cpu" or image.dtype != torch.float32:
        return False
    return not (image.requires_grad and torch.is_grad_enabled()) and image.numel() > 0


def _each_plane(image: Tensor, run: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    planes = image.detach().contiguous().flatten(0, -3).numpy()
    out = np.empty_like(planes)
    for source, place in zip(planes, out, strict=True):
        place[...] = run(source)
    return torch.from_numpy(out).view(image.shape)


def _mirrored(image: Tensor, axes: tuple[int, ...]) -> Tensor:
    """``image`` with 2 more pixels at both ends of ``axes``, mirrored as often as a small image needs it."""
    for axis in axes:
        size = image.shape[axis]
        period = max(1, 2 * (size - 1))
        index = torch.arange(-_REACH, size + _REACH, device=image.device).remainder(period)
        image = image.index_select(axis, torch.minimum(index, period - index).clamp_max(size - 1))
    return image


def _separable(image: Tensor, weights: list[float]) -> Tensor:
    """Sums of shifted views: on a CPU faster than a convolution with one channel."""
    for axis in (3, 2):
        size = image.shape[axis]
        padded = _mirrored(image, (axis,))
        image = padded.narrow(axis, 0, size) * weights[0]
        for offset in range(1, _SIDE):
            image = image + padded.narrow(axis, offset, size) * weights[offset]
    return image


@lru_cache(maxsize=2)
def _median_network(count: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """Comparisons that bring the median of ``count`` (odd) wires to the middle one.

    Batcher's merge exchange (Knuth, TAOCP 3, algorithm 5.2.2M), without what the middle wire does not depend on. Each
    entry: the two wires, and whether their minimum and their maximum are still needed.
    """
    comparisons = []
    p = top = 1 << (math.ceil(math.log2(count)) - 1)
    while p:
        q, r, d = top, 0, p
        while True:
            comparisons += [(i, i + d) for i in range(count - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    needed, kept = {count // 2}, []
    for low, high in reversed(comparisons):
        if {low, high} & needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))
