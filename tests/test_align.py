"""Alignment against warps that are known, under other tones, colours, sharpness and noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from pixward.align import Alignment, align
from pixward.errors import PixwardError


def scene(seed, height=320, width=480):
    """Blobs, edges and fine grain in all sizes, ``(H, W, 3)`` in [0, 1]."""
    rng = np.random.default_rng(seed)
    planes = sum(
        gaussian_filter(rng.standard_normal((height, width, 3)), (sigma, sigma, 0)) * sigma for sigma in (2, 5, 12, 40)
    )
    for _ in range(12):
        top, left = rng.integers(0, height - 40), rng.integers(0, width - 40)
        planes[top : top + rng.integers(15, 120), left : left + rng.integers(15, 120)] += rng.uniform(-2, 2, 3)
    low, high = np.quantile(planes, [0.01, 0.99])
    return ((planes - low) / (high - low)).clip(0, 1)


def tensor(picture):
    return torch.from_numpy(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None]


def other_look(picture, seed):
    """Another tone curve, matrix, sharpening and noise."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(3) + 0.08 * rng.standard_normal((3, 3))
    toned = 1 / (1 + np.exp(-7 * ((picture @ matrix.T).clip(0, 1) ** rng.uniform(0.6, 1.5) - 0.45)))
    sharp = toned + 0.6 * (toned - gaussian_filter(toned, (1, 1, 0)))
    return (sharp + 0.01 * rng.standard_normal(sharp.shape)).clip(0, 1)


def warped(picture, size, zoom, k1, shift):
    """A picture of ``size`` (h, w): at q from its centre, in half diagonals, lies zoom (1 + k1 q^2) q + shift."""
    half = 0.5 * math.hypot(*picture.shape[:2])
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    q = np.stack([y - (size[0] - 1) / 2, x - (size[1] - 1) / 2]) / (0.5 * math.hypot(*size))
    places = zoom * (1 + k1 * (q**2).sum(0)) * q + np.array(shift)[:, None, None]
    at = [places[i] * half + (picture.shape[i] - 1) / 2 for i in (0, 1)]
    return np.stack([map_coordinates(picture[..., c], at, order=3, mode="nearest") for c in range(3)], -1)


def errors(found: Alignment, goal_size, frame_size, zoom, k1, shift):
    """Distance in pixels of the frame between where each of its points is and where the alignment says."""
    height, width = frame_size
    y, x = np.mgrid[0:height, 0:width]
    c = np.stack([y - (height - 1) / 2, x - (width - 1) / 2])
    r2 = (c**2).sum(0) / (0.25 * (height**2 + width**2))
    scales = np.array([1 / found.aspect, found.aspect])[:, None, None]
    g = found.zoom * scales * (1 + found.k1 * r2) * c + np.array(found.shift[::-1])[:, None, None]
    g *= math.sqrt(goal_size[0] * goal_size[1] / (height * width))  # pixels of the goal
    q = g / (0.5 * math.hypot(*goal_size))
    back = (zoom * (1 + k1 * (q**2).sum(0)) * q + np.array(shift)[:, None, None]) * 0.5 * math.hypot(height, width)
    return np.hypot(*(back - c))


WARPS = [(0.98, 0.015, (0.004, -0.006)), (0.97, -0.02, (0.0, 0.01)), (1.0, 0.0, (0.0, 0.0)), (0.94, 0.01, (0.02, 0.02))]


@pytest.mark.parametrize("seed, warp", enumerate(WARPS))
def test_a_known_warp_is_found(seed, warp):
    zoom, k1, shift = warp
    picture = scene(seed)
    goal = other_look(warped(picture, (310, 466), zoom, k1, shift), seed)
    frame = torch.nn.functional.interpolate(tensor(picture), size=(171, 256), mode="area")
    found = align(tensor(goal), frame)
    error = errors(found, goal.shape[:2], (171, 256), zoom, k1, shift)
    assert error.mean() < 0.15 and error.max() < 0.6
    assert found.quality > 0.8 and found.turns == 0 and found.weight.mean() > 0.75


def test_the_goal_is_resampled_there():
    """With no other look, what comes back is the frame itself, and the weight is 0 beyond the goal."""
    picture = gaussian_filter(scene(1), (1.5, 1.5, 0))
    goal = warped(picture, (320, 480), 0.9, 0.02, (0.01, 0.0))
    frame = tensor(picture)[..., ::2, ::2]
    found = align(tensor(goal), tensor(picture))
    inside = found.weight > 0
    assert found.goal.shape == (1, 3, 320, 480) and found.weight.shape == (1, 1, 320, 480)
    assert abs(found.goal - tensor(picture))[inside.expand(-1, 3, -1, -1)].mean() < 0.004
    assert inside[0, 0, 0].sum() == 0 and inside[0, 0, :, 0].sum() == 0 and inside[0, 0, 40:-40, 40:-40].all()
    assert align(tensor(goal), frame).goal.shape == frame.shape


@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns(turns):
    picture = scene(2)
    goal = other_look(warped(picture, (300, 450), 0.98, 0.01, (0.005, 0.0)), 2)
    found = align(torch.rot90(tensor(goal), -turns, (2, 3)), tensor(picture))
    assert found.turns == turns
    assert errors(found, (300, 450), (320, 480), 0.98, 0.01, (0.005, 0.0)).mean() < 0.3


def test_another_aspect():
    """16:9 out of 3:2: less than the frame above and below."""
    picture = scene(3)
    goal = other_look(picture[25:295], 3)
    found = align(tensor(goal), tensor(picture))
    assert abs(found.goal - tensor(np.pad(goal, ((25, 25), (0, 0), (0, 0)))))[..., 30:-30, 5:-5].mean() < 0.01
    assert found.weight[..., :24, :].max() == 0 and found.weight[..., 30:-30, 8:-8].mean() > 0.8


def test_what_does_not_correspond_has_no_weight():
    picture = scene(4)
    goal = other_look(warped(picture, (320, 480), 0.98, 0.0, (0.0, 0.0)), 4)
    goal[60:200, 100:300] = scene(99)[60:200, 100:300]
    found = align(tensor(goal), tensor(picture))
    assert errors(found, (320, 480), (320, 480), 0.98, 0.0, (0.0, 0.0)).mean() < 0.3
    assert found.weight[..., 90:170, 130:270].mean() < 0.15 < 0.8 < found.weight[..., 20:-20, 320:-20].mean()


def test_a_quarter_of_the_frame_always_counts():
    """Detail differs nearly everywhere, large shapes agree: the better part counts all the same."""
    rng = np.random.default_rng(0)
    shapes = gaussian_filter(scene(5), (3, 3, 0))
    goal = shapes + 0.12 * gaussian_filter(rng.standard_normal(shapes.shape), (1, 1, 0)) * 2
    frame = shapes + 0.12 * gaussian_filter(rng.standard_normal(shapes.shape), (1, 1, 0)) * 2
    found = align(tensor(goal.clip(0, 1)), tensor(frame.clip(0, 1)))
    assert 0.2 < found.weight.mean() <= 1


@pytest.mark.parametrize("seed", range(3))
def test_other_scenes_are_refused(seed):
    with pytest.raises(PixwardError, match="same scene.*belong together") as caught:
        align(tensor(scene(seed)), tensor(scene(seed + 50)))
    assert "\n" not in str(caught.value)


def test_nothing_to_compare():
    with pytest.raises(PixwardError, match="same scene"):
        align(torch.full((1, 3, 64, 64), 0.5), tensor(scene(0)))
    with pytest.raises(ValueError, match="at least 16"):
        align(torch.zeros(1, 3, 8, 64), tensor(scene(0)))
    with pytest.raises(ValueError, match=r"\(1, 3, H, W\)"):
        align(torch.zeros(2, 3, 64, 64), tensor(scene(0)))


def test_tiny_and_odd_sizes():
    picture = scene(6)
    frame = torch.nn.functional.interpolate(tensor(picture), size=(43, 64), mode="area")
    found = align(tensor(other_look(picture, 6)), frame)
    assert found.goal.shape == frame.shape and abs(found.zoom - 1) < 0.01 and max(map(abs, found.shift)) < 0.3


def test_photos(shared_data):
    """Real photos; the exact figures are in docs/results."""
    from pixward.data.pairs import photo_files
    from pixward.image import load, preview

    means = []
    for seed, path in enumerate(photo_files([shared_data / "photos" / "bsds500" / "val"])[:3]):
        picture = load(path).pixels / 255
        zoom, k1, shift = 0.975, (-1) ** seed * 0.015, (0.004, 0.003)
        size = tuple(round(0.975 * n) for n in picture.shape[:2])
        goal = other_look(warped(picture, size, zoom, k1, shift), seed)
        frame = preview((picture * 255).astype(np.uint8), 256)
        means.append(errors(align(tensor(goal), frame), size, frame.shape[2:], zoom, k1, shift).mean())
    assert max(means) < 0.3 and np.mean(means) < 0.15
