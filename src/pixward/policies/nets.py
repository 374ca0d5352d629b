"""Pieces that policies are built from."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.ops.color import luma
from pixward.ops.sampling import even
from pixward.types import Action


def mlp(sizes: list[int]) -> nn.Sequential:
    """Linear layers of the given sizes with SiLU between them, none after the last."""
    layers: list[nn.Module] = []
    for inside, outside in pairwise(sizes):
        layers += [nn.Linear(inside, outside), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def grid_points(image: Tensor, side: int) -> Tensor:
    """Single pixels on an even grid, ``(B, C, H, W)`` to ``(B, N, C)``, N <= side * side.

    Pixels, not averages: a tone curve acts on pixels, and an average of a curve is not the curve of an average.
    """
    rows, columns = (even(length, side, image.device) for length in image.shape[-2:])
    return image[:, :, rows][..., columns].flatten(2).transpose(1, 2)


def detail(image: Tensor) -> Tensor:
    """How each pixel differs from its surroundings, ``(B, 4, H, W)``: RGB against 3x3, luma against 11x11."""
    fine = image - _box(image, 3)
    grey = luma(image)
    return torch.cat([fine, grey - _box(grey, 11)], 1) * 4


def _box(image: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(image, size, stride=1, padding=size // 2, count_include_pad=False)


def histogram(values: Tensor, bins: int) -> Tensor:
    """Linearly interpolated histograms of ``(B, N, C)`` in [0, 1]: ``(B, C * bins)``, each summing to ``bins``."""
    batch, count, channels = values.shape
    position = values.transpose(1, 2).reshape(batch * channels, count).clamp(0, 1) * (bins - 1)
    lower = position.floor().clamp(max=bins - 2)
    upper_share = position - lower
    out = values.new_zeros(batch * channels, bins)
    out.scatter_add_(1, lower.long(), 1 - upper_share)
    out.scatter_add_(1, lower.long() + 1, upper_share)
    return (out * (bins / count)).view(batch, channels * bins)


def photo_statistics(points: Tensor, bins: int = 32) -> Tensor:
    """RLPixTuner's photo statistics of pixels ``(B, N, 3)``: ``(B, 3 * bins + 4)``.

    RGB histograms, mean luminance, median luminance, contrast (standard deviation) and mean HSV saturation.
    """
    grey = luma(points.transpose(1, 2).unsqueeze(-1)).flatten(1)
    high, low = points.amax(2), points.amin(2)
    colourful = ((high - low) / high.clamp_min(1e-3)).mean(1)
    scalars = torch.stack([grey.mean(1), grey.median(1).values, grey.std(1, unbiased=False), colourful], 1)
    return torch.cat([histogram(points, bins), scalars], 1)


def draw_gaussian(mean: Tensor, noise: float) -> Action:
    """An action around ``mean`` ``(B, d)`` with standard deviation ``noise``, with its log-probability; no baseline."""
    value = mean + noise * torch.randn_like(mean)
    log_prob, baseline = score_gaussian(mean, noise, value)
    return Action(value, log_prob, baseline)


def score_gaussian(mean: Tensor, noise: float, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability ``(B,)`` of ``actions`` ``(B, d)`` under :func:`draw_gaussian`, and a zero baseline."""
    log_prob = torch.distributions.Normal(mean, noise).log_prob(actions).sum(1)
    return log_prob, torch.zeros_like(log_prob)
