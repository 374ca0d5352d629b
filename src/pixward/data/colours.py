"""Colours as tokens: for each cell of a grid the nearest of a palette of CIE a*, b*; lightness stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.metrics.image import srgb_to_lab
from pixward.ops.tone import linear_to_srgb

_FIRST = 1  # token 0 is END in every tokeniser, and no colour


@dataclass(frozen=True)
class ColourTokens:
    """An image's colours as ``cells * cells`` tokens, row by row; colour ``k`` of the palette is token ``k + 1``.

    Token 0, which ends sequences elsewhere, is never used: every image has all of its cells.

    Attributes:
        palette: ``(a*, b*)`` of each colour.
        cells: of the grid, on each side.
    """

    palette: tuple[tuple[float, float], ...]
    cells: int = 8

    @staticmethod
    def grid(step: float = 20.0, cells: int = 8) -> ColourTokens:
        """All colours on a square grid of a*, b* that sRGB has, for some lightness; a cell of it is ``step`` wide."""
        levels = torch.linspace(0, 1, 33)
        cube = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).reshape(1, 3, 33, -1)
        colours = srgb_to_lab(cube)[0, 1:].flatten(1).T
        bins = sorted({(float(a), float(b)) for a, b in ((colours / step).round() * step + 0.0).tolist()})
        return ColourTokens(tuple(bins), cells)

    @staticmethod
    def fit(images: Tensor, colours: int = 32, cells: int = 8, *, seed: int = 0, rounds: int = 20) -> ColourTokens:
        """The palette that k-means finds in the cells of ``images`` ``(B, 3, H, W)``, sorted by a*.

        Raises:
            ValueError: fewer cells than colours.
        """
        points = _cells(images, cells).permute(0, 2, 3, 1).reshape(-1, 2).double()
        if len(points) < colours:
            raise ValueError(f"{colours} colours need as many cells at least, got {len(points)}")
        generator = torch.Generator().manual_seed(seed)
        centres = _spread(points, colours, generator)
        for _ in range(rounds):
            nearest = torch.cdist(points, centres).argmin(1)
            sums = torch.zeros_like(centres).index_add_(0, nearest, points)
            counts = nearest.bincount(minlength=colours)[:, None]
            centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
        return ColourTokens(tuple((a, b) for a, b in sorted(centres.round(decimals=3).tolist())), cells)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return len(self.palette) + _FIRST

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return self.cells * self.cells

    def encode(self, images: Tensor) -> Tensor:
        """Tokens ``(B, length)`` of sRGB ``images`` ``(B, 3, H, W)``: nearest to the mean a*, b* of each cell."""
        points = _cells(images, self.cells).flatten(2).transpose(1, 2)
        return torch.cdist(points, self._palette(points).expand(len(points), -1, -1)).argmin(2) + _FIRST

    def decode(self, tokens: Tensor, images: Tensor) -> Tensor:
        """Colour ``images`` as ``tokens`` ``(B, length)`` say; only their L* counts, so ``(B, 1, H, W)`` will do.

        Colours run smoothly from the centre of one cell to the next. What sRGB cannot show is clipped.

        Returns:
            sRGB ``(B, 3, H, W)`` in [0, 1].

        Raises:
            ValueError: a token that is no colour.
        """
        if bool(((tokens < _FIRST) | (tokens >= self.vocabulary)).any()):
            raise ValueError(f"colour tokens lie in 1 ... {self.vocabulary - 1}, got {tokens.unique().tolist()}")
        colours = self._palette(images)[tokens - _FIRST].transpose(1, 2).unflatten(2, (self.cells, self.cells))
        smooth = F.interpolate(colours, images.shape[2:], mode="bilinear", align_corners=False)
        lightness = srgb_to_lab(images.expand(-1, 3, -1, -1))[:, :1]
        return lab_to_srgb(torch.cat([lightness, smooth], 1))

    def allowed(self, tokens: Tensor) -> Tensor:
        """Which tokens may follow ``tokens`` ``(N, t)``: every colour; ``(N, vocabulary)`` bool."""
        return (torch.arange(self.vocabulary, device=tokens.device) >= _FIRST).expand(len(tokens), -1)

    def allowed_along(self, tokens: Tensor) -> Tensor:
        """The same for each place of ``tokens`` ``(N, L)``: ``(N, L, vocabulary)``."""
        return self.allowed(tokens)[:, None].expand(-1, tokens.shape[1], -1)

    def _palette(self, like: Tensor) -> Tensor:
        return torch.tensor(self.palette, dtype=like.dtype, device=like.device)


def lab_to_srgb(lab: Tensor) -> Tensor:
    """CIE L*a*b* ``(B, 3, H, W)`` to sRGB in [0, 1], clipped; the inverse of :func:`pixward.metrics.image.srgb_to_lab`.

    D65, 2 degree observer.
    """
    y = (lab[:, 0] + 16) / 116
    root = torch.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], 1)
    xyz = torch.where(root > 6 / 29, root**3, 3 * (6 / 29) ** 2 * (root - 4 / 29))
    forward = torch.tensor(
        [
            [0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047],
            [0.212671, 0.715160, 0.072169],
            [0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883],
        ],
        dtype=torch.float64,
    )
    inverse = torch.linalg.inv(forward).to(lab)
    return linear_to_srgb(torch.einsum("ij,bjhw->bihw", inverse, xyz).clamp(0, 1)).clamp(0, 1)


def to_grey(images: Tensor) -> Tensor:
    """Images ``(B, 3, H, W)``, sRGB, without their colours, ``(B, 1, H, W)``: the same L*, a* and b* of 0."""
    lightness = srgb_to_lab(images)[:, :1]
    return lab_to_srgb(torch.cat([lightness, torch.zeros_like(images[:, :2])], 1))[:, :1]


def _cells(images: Tensor, cells: int) -> Tensor:
    """Mean a*, b* of each cell, ``(B, 2, cells, cells)``."""
    return F.adaptive_avg_pool2d(srgb_to_lab(images)[:, 1:], cells)


def _spread(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """First centres of k-means, far from one another (k-means++, Arthur and Vassilvitskii 2007)."""
    centres = [points[int(torch.randint(len(points), (1,), generator=generator))]]
    gap = torch.full((len(points),), torch.inf, dtype=points.dtype)
    for _ in range(count - 1):
        gap = torch.minimum(gap, (points - centres[-1]).square().sum(1))
        weights = gap if bool(gap.sum() > 0) else torch.ones_like(gap)
        # By inverting the cumulative sum: torch.multinomial takes 2^24 weights at most.
        at = torch.rand(1, generator=generator, dtype=torch.float64) * weights.sum()
        centres.append(points[int(torch.searchsorted(weights.cumsum(0), at).clamp_max(len(points) - 1))])
    return torch.stack(centres)
