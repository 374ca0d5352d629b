"""How alike two pictures of different scenes look, without a network: colour, tones and local contrast as numbers.

A picture is told by the distribution of its OKLab colours along fixed directions, which for the first direction is its
tone curve, and by how much its pixels differ from their surroundings at three scales, for dark, middle and bright
tones. Two pictures are as far apart as these numbers are. The part of the colours is the squared sliced Wasserstein
distance (Bonneel et al., "Sliced and Radon Wasserstein barycenters of measures", 2015, eq. 9): between distributions on
a line, the squared 2-Wasserstein distance is the mean squared difference of their quantiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.ops.color import linear_to_oklab
from pixward.ops.sampling import even
from pixward.ops.tone import srgb_to_linear

QUANTILES = 32
"""Points at which each distribution is read, at the middles of equal shares."""
SIDE, COARSE = 64, 24
"""Colours are read from at most so many rows and columns, an even grid of pixels, not averages; the coarse grid is for
networks, which look often and need no more."""
SCALES = (3, 9, 27)
"""Widths in pixels of the surroundings that local contrast is measured against."""
TONE_WEIGHT, COLOUR_WEIGHT, CONTRAST_WEIGHT = 0.5, 1.0, 0.25
"""What tones, colours and local contrast count."""
_CHROMA = 2.0
"""OKLab's a and b against its L: a photo's chroma spans about half of what its lightness does."""
_LEAST = 16


def look(output: Tensor, target: Tensor) -> Tensor:
    """Minus the squared distance between the looks of pictures, ``(B,)``, at most 0; differentiable.

    Args:
        output: ``(B, 3, H, W)`` sRGB in [0, 1].
        target: ``(B, 3, h, w)`` or ``(1, 3, h, w)``, another scene of any size.

    Raises:
        ValueError: not such pictures, sides under 16 pixels, or NaN.
    """
    return -(look_features(output) - look_features(target)).square().sum(1)


def toward(target: Tensor) -> Callable[[Tensor, object], Tensor]:
    """:func:`look` with its target read once, for those who ask many times: ``reward(output, anything) -> (B,)``."""
    aim = look_features(target)
    return lambda output, _: -(look_features(output) - aim).square().sum(1)


def look_features(images: Tensor, side: int = SIDE) -> Tensor:
    """The numbers that :func:`look` compares, ``(B, 3, H, W)`` to ``(B, F)``: squared differences add up.

    ``side``: of the grid of pixels that colours are read from.

    Raises:
        ValueError: no pictures ``(B, 3, H, W)`` with sides of 16 pixels or more, or a picture with NaN.
    """
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[-2:]) < _LEAST:
        raise ValueError(f"a look needs pictures (B, 3, H, W) of {_LEAST} pixels a side, got {tuple(images.shape)}")
    if not bool(images.isfinite().all()):
        raise ValueError("a look needs pictures without NaN")
    lab = linear_to_oklab(srgb_to_linear(images))
    return torch.cat([_colours(lab, side), _contrasts(lab[:, :1])], 1)


def _directions() -> Tensor:
    """Unit vectors ``(16, 3)``: lightness first, then 15 spread evenly over the half sphere (Fibonacci's lattice)."""
    count = 15
    rise = (torch.arange(count) + 0.5) / count
    turn = torch.arange(count) * math.pi * (3 - math.sqrt(5))
    flat = (1 - rise * rise).sqrt()
    # Both signs of a direction give the same distance, so half a sphere around lightness holds them all.
    sphere = torch.stack([rise, flat * turn.cos(), flat * turn.sin()], 1)
    return torch.cat([torch.tensor([[1.0, 0.0, 0.0]]), sphere])


DIRECTIONS = _directions()
FEATURES = len(DIRECTIONS) * QUANTILES + 3 * len(SCALES)
"""How many numbers tell a look."""


def look_gap(output: Tensor, target: Tensor) -> Tensor:
    """How far apart looks are, ``(B,)``: the root of minus :func:`look`, on the coarse grid; what a history holds."""
    return (look_features(output, COARSE) - look_features(target, COARSE)).norm(dim=1)


def _colours(lab: Tensor, side: int) -> Tensor:
    """Quantiles of the colours along :data:`DIRECTIONS`, ``(B, 16 * QUANTILES)``."""
    rows, columns = (even(length, side, lab.device) for length in lab.shape[-2:])
    points = lab[:, :, rows][..., columns].flatten(2)
    points = torch.cat([points[:, :1], points[:, 1:] * _CHROMA], 1)
    along = (DIRECTIONS.to(points) @ points).sort(2).values
    # Means of equal shares rather than single order statistics: smoother, and no pixel is without a say.
    quantiles = F.adaptive_avg_pool1d(along, QUANTILES)
    weight = lab.new_full((len(DIRECTIONS), 1), COLOUR_WEIGHT / (len(DIRECTIONS) - 1))
    weight[0] = TONE_WEIGHT
    return (quantiles * (weight / QUANTILES).sqrt()).flatten(1)


def _contrasts(light: Tensor) -> Tensor:
    """Root mean square difference from the surroundings at each scale and tone, ``(B, 9)``.

    Tones are shared out softly among dark, middle and bright, so that no pixel jumps from one to the other.
    """
    tone = 2 * light.clamp(0, 1)
    shares = torch.cat([(1 - tone).clamp_min(0), 1 - (tone - 1).abs(), (tone - 1).clamp_min(0)], 1)
    parts = []
    for scale in SCALES:
        wide = min(scale, 2 * (min(light.shape[-2:]) // 2) - 1)
        square = (light - _around(light, wide)).square()
        mean = (square * shares).sum((2, 3)) / (shares.sum((2, 3)) + 1)
        parts.append((mean + 1e-6).sqrt())
    return torch.cat(parts, 1) * math.sqrt(CONTRAST_WEIGHT / len(parts))


def _around(light: Tensor, wide: int) -> Tensor:
    """Mean over a square of ``wide`` (odd) pixels, within the picture; rows, then columns, which is far quicker."""
    rows = F.avg_pool2d(light, (wide, 1), stride=1, padding=(wide // 2, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, wide), stride=1, padding=(0, wide // 2), count_include_pad=False)
