"""Put one picture of a scene into the frame of another: the camera's JPEG into the frame of an editor's render.

The two differ in size, tone, colour, sharpening and noise; in crop and lens correction by some per cent; maybe by
quarter turns. What is compared is therefore brightness with its local mean taken out and its local contrast set to 1,
which a tone curve or a colour matrix hardly changes. A search of turns, zooms and shifts on a tiny copy
(cross-correlation) starts Gauss-Newton steps on shift, zoom, aspect and radial distortion (Brown 1966, first term),
with both pictures' slopes in the Jacobian (Malis 2004, ESM) and Cauchy weights, from coarse to fine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.errors import PixwardError
from pixward.image import resize_to

__all__ = ["Alignment", "align"]

SAME_SCENE = 0.35
"""Correlation of the normalised pictures below which they do not show the same scene."""
_SIDES = (64, 128, 256, 384)
"""Longest sides of the copies on which the place is found; beyond the last more pixels add nothing."""
_STEPS = 15
_ZOOMS = [1.03**k for k in range(-7, 8)]
_LUMA = (0.2126, 0.7152, 0.0722)
_FLOOR = 0.015
"""Contrast (standard deviation, sRGB in [0, 1]) that counts as noise."""
# How far from 0 log aspect and k1 are likely to be, and how many pixels of evidence that belief is worth.
_LIKELY = {3: 0.003, 4: 0.03}
_BELIEF = 20.0
_LEAST = 0.25
"""Share of the frame that always counts."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """A goal in the frame of a render.

    A point at ``c`` pixels from the centre of the frame lies at ``zoom * (aspect cx, cy / aspect) * (1 + k1 r^2) +
    shift`` from the centre of the goal, once the goal is turned and scaled to the frame's area; r is 1 in the corners
    of the frame.

    Attributes:
        goal: ``(1, 3, h, w)`` in [0, 1], the goal as the frame shows it; beyond the goal's edges they are repeated.
        weight: ``(1, 1, h, w)`` in [0, 1]: 0 outside of the goal and where the two do not correspond.
        shift: (x, y) in pixels of the frame.
        zoom: above 1, the goal shows less than the frame.
        aspect: how much wider for its height the goal is drawn, nearly 1.
        k1: radial distortion, the share by which the corners are displaced.
        turns: quarter turns, counter-clockwise, that the goal needed.
        quality: correlation of the normalised pictures in the overlap, at most 1.
    """

    goal: Tensor
    weight: Tensor
    shift: tuple[float, float]
    zoom: float
    aspect: float
    k1: float
    turns: int
    quality: float


def align(goal: Tensor, frame: Tensor) -> Alignment:
    """Find where ``goal`` lies in ``frame``, and resample it there.

    Args:
        goal: ``(1, 3, H, W)`` in [0, 1], any size.
        frame: ``(1, 3, h, w)`` in [0, 1], what decides the frame.

    Raises:
        PixwardError: the two do not show the same scene, or hardly anything to compare.
        ValueError: tensors of other shapes, or below 16 pixels.
    """
    for name, image in (("goal", goal), ("frame", frame)):
        if image.ndim != 4 or image.shape[:2] != (1, 3) or min(image.shape[2:]) < 16:
            raise ValueError(f"{name} must be (1, 3, H, W) of at least 16 x 16 pixels, got {tuple(image.shape)}")
    with torch.inference_mode():
        goal, frame = goal.float(), frame.float()
        pyramid = _pyramid(frame)
        found = [_refine(start, goal, pyramid[:1]) for start in _starts(goal, pyramid[0])]
        turns, place, _ = max(found, key=lambda item: item[2])
        turns, place, quality = _refine((turns, place), goal, pyramid)
        if quality < SAME_SCENE:
            raise PixwardError(
                f"goal and photo do not seem to show the same scene (correlation {quality:.2f} of at least "
                f"{SAME_SCENE}); check that the two belong together"
            )
        turned = torch.rot90(goal, turns, (2, 3))
        moved, inside = _resample(turned, place, frame.shape[2:])
        weight = _weight(moved, frame, inside)
    size = frame.shape[3], frame.shape[2]
    shift = (float(place[0]) * size[0], float(place[1]) * size[0])
    zoom, aspect = math.exp(float(place[2])), math.exp(float(place[3]))
    return Alignment(moved.clamp(0, 1).clone(), weight.clone(), shift, zoom, aspect, float(place[4]), turns, quality)


def _pyramid(frame: Tensor) -> list[Tensor]:
    """Copies of the frame from coarse to fine."""
    longest = max(frame.shape[2:])
    sides = [side for side in _SIDES if side < longest] + [min(longest, _SIDES[-1])]
    sizes = sorted({tuple(max(16, round(n * side / longest)) for n in frame.shape[2:]) for side in sides})
    return [resize_to(frame, (size[0], size[1])) for size in sizes]


def _fit(goal: Tensor, size: tuple[int, int] | torch.Size, finer: float = 1.0) -> Tensor:
    """The goal reduced to the area of a frame of ``size`` (h, w) times ``finer``, never enlarged."""
    height, width = goal.shape[2:]
    scale = min(1.0, finer * math.sqrt(size[0] * size[1] / (height * width)))
    return resize_to(goal, (max(8, round(height * scale)), max(8, round(width * scale))))


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian, edges repeated."""
    radius = min(math.ceil(2.5 * sigma), min(image.shape[2:]) - 1)
    at = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(image.shape[1], 1, -1)
    image = F.pad(image, (radius,) * 4, mode="replicate")
    image = F.conv2d(image, kernel[:, :, None], groups=image.shape[1])
    return F.conv2d(image, kernel[..., None], groups=image.shape[1])


def _luma(image: Tensor) -> Tensor:
    return (image * image.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _normalised(image: Tensor, sigma: float) -> Tensor:
    """Brightness without its local mean, over its local contrast; near 0 where there is only noise."""
    light = _blur(_luma(image), 0.7)
    mean = _blur(light, sigma)
    variance = (_blur(light**2, sigma) - mean**2).clamp(min=0)
    return (light - mean) / (variance + _FLOOR**2).sqrt()


def _window(size: tuple[int, int] | torch.Size) -> float:
    """Standard deviation of the neighbourhood that counts as local, in pixels."""
    return max(3.0, 0.025 * max(size))


def _coordinates(size: tuple[int, int] | torch.Size, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Places x, y of a frame's pixels from its centre, in widths, ``(h, w)``, and squared radius, 1 in the corners."""
    height, width = size
    x = (torch.arange(width, dtype=like.dtype, device=like.device) + 0.5 - width / 2) / width
    y = (torch.arange(height, dtype=like.dtype, device=like.device) + 0.5 - height / 2) / width
    y, x = torch.meshgrid(y, x, indexing="ij")
    return x, y, (x**2 + y**2) / (0.25 * (1 + (height / width) ** 2))


def _grid(place: Tensor, size: tuple[int, int] | torch.Size, goal: Tensor) -> Tensor:
    """Where in the goal each pixel of a frame of ``size`` lies, for ``grid_sample``: ``(1, h, w, 2)``."""
    x, y, radius2 = _coordinates(size, goal)
    tx, ty, zoom, aspect, k1 = place.tolist()
    bent = (1 + k1 * radius2) * math.exp(zoom)
    x, y = x * bent * math.exp(aspect) + tx, y * bent * math.exp(-aspect) + ty
    # Widths of the frame to half sides of the goal, whose area is the frame's.
    frame_ratio, goal_ratio = size[0] / size[1], goal.shape[2] / goal.shape[3]
    wide = math.sqrt(frame_ratio / goal_ratio)  # width of the goal in widths of the frame
    return torch.stack([2 * x / wide, 2 * y / (wide * goal_ratio)], -1)[None]


def _sample(image: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=False)


def _inside(grid: Tensor, margin: float) -> Tensor:
    """1 where the goal has a pixel, ``(1, 1, h, w)``; ``margin`` as a share of half a side is left out."""
    return (grid.abs().amax(-1) <= 1 - margin).to(grid.dtype)[:, None]


def _starts(goal: Tensor, frame: Tensor) -> list[tuple[int, Tensor]]:
    """For each turn that is worth a try the zoom and shift of the highest cross-correlation."""
    size = frame.shape[2:]
    fixed = _normalised(frame, _window(size))
    padded = (2 * size[0], 2 * size[1])
    spectrum = torch.fft.rfft2(fixed, s=padded).conj()
    reach = (round(0.2 * size[0]), round(0.2 * size[1]))
    found = []
    for turns in range(4):
        turned = _fit(torch.rot90(goal, turns, (2, 3)), size)
        feature = _normalised(turned, _window(size))
        best = (-1.0, torch.zeros(5))
        for zoom in _ZOOMS:
            place = torch.tensor([0.0, 0.0, math.log(zoom), 0.0, 0.0])
            grid = _grid(place, size, turned)
            moved = _sample(feature, grid) * _inside(grid, 0.0)
            power = (moved.square().sum() * fixed.square().sum()).sqrt() + 1e-9
            score = torch.fft.irfft2(torch.fft.rfft2(moved, s=padded) * spectrum, s=padded)[0, 0] / power
            score = torch.roll(score, reach, (0, 1))[: 2 * reach[0] + 1, : 2 * reach[1] + 1]
            peak = int(score.argmax())
            if float(score.flatten()[peak]) > best[0]:
                dy, dx = divmod(peak, score.shape[1])
                shift = ((dx - reach[1]) * zoom / size[1], (dy - reach[0]) * zoom / size[1])
                best = (float(score.flatten()[peak]), torch.tensor([*shift, math.log(zoom), 0.0, 0.0]))
        found.append((best[0], turns, best[1]))
    most = max(score for score, _, _ in found)
    return [(turns, place) for score, turns, place in found if score >= 0.7 * most]


def _refine(start: tuple[int, Tensor], goal: Tensor, pyramid: list[Tensor]) -> tuple[int, Tensor, float]:
    """Gauss-Newton from coarse to fine; turns, place, quality."""
    turns, place = start
    turned = torch.rot90(goal, turns, (2, 3))
    quality = 0.0
    for frame in pyramid:
        size = frame.shape[2:]
        small = _fit(turned, size)
        place, quality = _gauss_newton(
            place, _normalised(small, _window(size)), _normalised(frame, _window(size)), first=frame is pyramid[0]
        )
    return turns, place, quality


def _gauss_newton(place: Tensor, moving: Tensor, fixed: Tensor, *, first: bool) -> tuple[Tensor, float]:
    """Steps until they are below a hundredth of a pixel; place and quality."""
    size = fixed.shape[2:]
    margin = 4.0 / min(moving.shape[2:])
    slopes = torch.gradient(fixed[0, 0])
    best, quality = place, -1.0
    for step in range(_STEPS):
        grid = _grid(place, size, moving)
        moved, inside = _sample(moving, grid), _inside(grid, margin)
        score = _correlation(moved, fixed, inside)
        if score > quality:
            best, quality = place, score
        free = 3 if first and step < 5 else 5  # shift and zoom before what bends
        change = _step(place, moved, fixed, inside, slopes, free)
        place = place + change
        if float(change.abs().max()) * size[1] < 0.01 and free == 5:
            break
    return best, quality


def _correlation(moved: Tensor, fixed: Tensor, inside: Tensor) -> float:
    """Of the two in the overlap; 0 where that is less than a quarter of the frame."""
    if float(inside.mean()) < _LEAST:
        return 0.0
    cross = (moved * fixed * inside).sum()
    return float(cross / ((moved**2 * inside).sum() * (fixed**2 * inside).sum()).sqrt().clamp(min=1e-9))


def _step(
    place: Tensor, moved: Tensor, fixed: Tensor, inside: Tensor, slopes: tuple[Tensor, ...] | list[Tensor], free: int
) -> Tensor:
    """One step of robust least squares; the first ``free`` parameters move."""
    size = fixed.shape[2:]
    down, across = torch.gradient(moved[0, 0])
    # Slopes with respect to places in widths of the frame.
    across, down = (across + slopes[1]) * (0.5 * size[1]), (down + slopes[0]) * (0.5 * size[1])
    x, y, radius2 = _coordinates(size, fixed)
    radial = x * across + y * down
    jacobian = torch.stack([across, down, radial, x * across - y * down, radius2 * radial])[:free].flatten(1)
    residual = (moved - fixed).flatten()
    spread = 1.4826 * residual[inside.flatten() > 0].abs().median() if bool(inside.any()) else residual.new_tensor(1.0)
    weight = inside.flatten() / (1 + (residual / (2 * spread + 1e-3)) ** 2)
    weighted = (jacobian * weight).double()
    matrix = weighted @ jacobian.double().T
    target = -(weighted @ residual.double())
    for index, likely in _LIKELY.items():
        if index < free:
            belief = _BELIEF * float(spread) ** 2 / likely**2
            matrix[index, index] += belief
            target[index] -= belief * float(place[index])
    matrix += 1e-4 * torch.diag(matrix.diagonal()) + 1e-6 * torch.eye(free, dtype=matrix.dtype)
    change = torch.linalg.solve(matrix, target).float().clamp(-0.05, 0.05)
    return F.pad(change, (0, 5 - free))


def _resample(goal: Tensor, place: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
    """The goal in the frame, ``(1, 3, h, w)``, and where it has pixels, ``(1, 1, h, w)``."""
    # Twice as fine where the goal has the pixels, and then averaged: the bends cost no sharpness.
    finer = 2 if goal.shape[2] * goal.shape[3] > 1.5 * size[0] * size[1] else 1
    reduced = _fit(goal, size, finer)
    grid = _grid(place, (size[0] * finer, size[1] * finer), reduced)
    inside = F.avg_pool2d(_inside(grid, 2.0 / min(reduced.shape[2:])), finer)
    return resize_to(_sample(reduced, grid), (size[0], size[1])), (inside >= 1).to(goal.dtype)


def _weight(goal: Tensor, frame: Tensor, inside: Tensor) -> Tensor:
    """1 where the two correspond, 0 where their detail does not; flat places do."""
    sigma = _window(frame.shape[2:])
    one, two = _blur(_luma(goal), 0.7), _blur(_luma(frame), 0.7)
    means = _blur(one, sigma), _blur(two, sigma)
    variances = [(_blur(a**2, sigma) - m**2).clamp(min=0) for a, m in zip((one, two), means, strict=True)]
    noise = (2 * _FLOOR) ** 2
    likeness = (_blur(one * two, sigma) - means[0] * means[1] + noise) / (
        (variances[0] + noise) * (variances[1] + noise)
    ).sqrt()
    likeness = torch.where(inside > 0, likeness, -2.0)
    # Where nearly everything differs, the better part of the frame counts all the same.
    high = min(0.6, float(likeness.flatten().quantile(1 - 1.2 * _LEAST)))
    return ((likeness - high + 0.4) / 0.4).clamp(0, 1) * inside
