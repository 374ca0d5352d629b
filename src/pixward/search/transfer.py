"""Classical colour transfer: what a look costs without an editor, and so the baselines of looks.

Every function takes a photo and a picture of another scene and gives the photo its colours:
``(source (1, 3, H, W), reference (1, 3, h, w)) -> (1, 3, H, W)``, all sRGB-encoded in [0, 1]. They paint pixels: there
is no slider behind the result, nothing to lock, save or apply to the next photo.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pixward.ops.tone import linear_to_srgb, srgb_to_linear
from pixward.policies.nets import grid_points

# Reinhard et al. 2001, eq. 4: linear RGB to the cones' LMS; eq. 6: their logarithms to l-alpha-beta.
_CONES = ((0.3811, 0.5783, 0.0402), (0.1967, 0.7244, 0.0782), (0.0241, 0.1288, 0.8444))
_SUMS = ((1.0, 1.0, 1.0), (1.0, 1.0, -2.0), (1.0, -1.0, 0.0))
_SCALES = (3**-0.5, 6**-0.5, 2**-0.5)

_DARK = 1 / 255 / 12.92
"""Linear light of the 8-bit code 1: black has no logarithm."""
_FLAT = 1e-5
"""A standard deviation below this is rounding: there is nothing to stretch."""
_FAR = 30.0
"""Logarithms (base 10) stop here, so that a stretched colour far outside the gamut is clipped and not inf - inf."""
_FINEST = 2.0**20
"""Steps of 1 in which values are told apart: rounding errors must not be stretched to the contrast of a reference."""
_SIDE = 256
"""Distributions are learned from at most this many pixels squared, on an even grid."""
_KNOTS = 1024
"""How finely one axis of a distribution is followed: the released code takes 300 bins."""


def reinhard(source: Tensor, reference: Tensor) -> Tensor:
    """Means and standard deviations of the reference, axis by axis, in Ruderman's l-alpha-beta.

    Reinhard, Ashikhmin, Gooch, Shirley: Color transfer between images, 2001, eqs. 4 to 11, in linear light as eq. 4
    asks. The way back inverts the printed matrices instead of using their printed inverses of four digits. The light
    of the 8-bit code 1 is added before the logarithm and taken off after it, where the paper is silent on black; an
    axis on which the source does not vary is moved and not stretched. Standard deviations are of the population.

    Args:
        source: ``(1, 3, H, W)`` sRGB-encoded in [0, 1].
        reference: ``(1, 3, h, w)`` of any size.

    Returns:
        ``(1, 3, H, W)``, clipped to [0, 1].

    Raises:
        ValueError: other shapes, no pixels, or pixels that are no finite numbers.
    """
    _check(source, reference)
    cones, axes, scales = (source.new_tensor(table) for table in (_CONES, _SUMS, _SCALES))
    axes = axes * scales[:, None]

    def opponent(image: Tensor) -> Tensor:
        light = srgb_to_linear(image[0].flatten(1)) + _DARK
        return axes @ (cones @ light).log10()

    ours, theirs = opponent(source), opponent(reference.to(source))
    spread, aim = (values.std(1, unbiased=False, keepdim=True) for values in (ours, theirs))
    stretch = torch.where(spread > _FLAT, aim / spread.clamp_min(_FLAT), 1.0)
    moved = (ours - ours.mean(1, keepdim=True)) * stretch + theirs.mean(1, keepdim=True)
    logs = torch.linalg.solve(axes, moved).clamp(-_FAR, _FAR)
    light = torch.linalg.solve(cones, 10**logs) - _DARK
    return linear_to_srgb(light.clamp(0, 1)).view_as(source)


def histogram_match(source: Tensor, reference: Tensor) -> Tensor:
    """Each channel gets the reference's distribution by itself: a value goes to the same quantile of the other picture.

    Equal values stay equal. The quantile of a value is the middle of its mass, so that a flat picture goes to the
    median and swapping black and white swaps the result; scikit-image's ``match_histograms`` takes the upper end, and
    sends a flat picture to the maximum. Where no two pixels are equal and both pictures have one size, the two agree.

    Args:
        source: ``(1, 3, H, W)`` in [0, 1].
        reference: ``(1, 3, h, w)`` of any size.

    Returns:
        ``(1, 3, H, W)`` within the reference's range.

    Raises:
        ValueError: other shapes, no pixels, or pixels that are no finite numbers.
    """
    _check(source, reference)
    ours, theirs = _rounded(source[0].flatten(1)), reference[0].flatten(1).to(source)
    channels = [_interpolate(values, *_transport(values, aim)) for values, aim in zip(ours, theirs, strict=True)]
    return torch.stack(channels).clamp(0, 1).view_as(source)


def distribution_transfer(source: Tensor, reference: Tensor, *, iterations: int = 20, seed: int = 0) -> Tensor:
    """The reference's whole distribution of colours, not only each channel's: iterative distribution transfer.

    Pitie, Kokaram, Dahyot: Automated colour grading using colour distribution transfer, 2007, algorithm 1, on encoded
    RGB: rotate, match the distribution along each axis, rotate back, again. The first axes are the channels
    themselves, the others random. Not built: the paper's second half, which takes the grain off the result. Of
    pictures with more than 256 x 256 pixels the distribution is learned on an even grid of that many.

    Args:
        source: ``(1, 3, H, W)`` in [0, 1].
        reference: ``(1, 3, h, w)`` of any size.
        iterations: rotations, 1 or more.
        seed: same seed, same rotations.

    Returns:
        ``(1, 3, H, W)``, clipped to [0, 1].

    Raises:
        ValueError: other shapes, no pixels, pixels that are no finite numbers, or less than one iteration.
    """
    _check(source, reference)
    if iterations < 1:
        raise ValueError(f"need at least one iteration, got {iterations}")
    generator = torch.Generator().manual_seed(seed)
    colours = source[0].flatten(1).double()
    sample = grid_points(source, _SIDE)[0].T.double()
    aim = grid_points(reference.to(source), _SIDE)[0].T.double()
    rotation = torch.eye(3, dtype=torch.float64)
    for _ in range(iterations):
        turn = rotation.to(colours)
        turned, turned_sample, turned_aim = (_rounded(turn @ values) for values in (colours, sample, aim))
        for axis in range(3):
            x, y = _transport(turned_sample[axis], turned_aim[axis])
            thin = torch.linspace(0, len(x) - 1, min(len(x), _KNOTS), device=x.device).round().long()
            knots = x[thin], y[thin]
            turned[axis] = _interpolate(turned[axis], *knots)
            turned_sample[axis] = _interpolate(turned_sample[axis], *knots)
        colours, sample = turn.T @ turned, turn.T @ turned_sample
        rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
    return colours.clamp(0, 1).to(source).view_as(source)


def _rounded(values: Tensor) -> Tensor:
    return (values * _FINEST).round() / _FINEST


def _transport(values: Tensor, aim: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct ``values`` ``(N,)`` in order, and where each goes to be distributed like ``aim`` ``(M,)``."""
    ours, our_place = _quantiles(values)
    theirs, their_place = _quantiles(aim)
    return ours, _interpolate(our_place, their_place, theirs.double()).to(values)


def _quantiles(values: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct values in order, and the middle of each one's mass in (0, 1)."""
    distinct, counts = torch.unique(values, return_counts=True)
    counts = counts.double()
    return distinct, (counts.cumsum(0) - counts / 2) / len(values)


def _interpolate(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The polyline through ``(x, y)``, ``x`` rising, at ``at``; flat beyond its ends."""
    if len(x) == 1:
        return y.expand_as(at).clone()
    upper = torch.searchsorted(x, at.contiguous()).clamp(1, len(x) - 1)
    lower = upper - 1
    share = ((at - x[lower]) / (x[upper] - x[lower])).clamp(0, 1)
    return y[lower] + share * (y[upper] - y[lower])


def _check(source: Tensor, reference: Tensor) -> None:
    for name, image in (("source", source), ("reference", reference)):
        if image.ndim != 4 or image.shape[:2] != (1, 3) or image.numel() == 0:
            raise ValueError(f"{name} must be (1, 3, H, W) with pixels, got {tuple(image.shape)}")
        if not bool(image.isfinite().all()):
            raise ValueError(f"{name} has pixels that are no finite numbers")
