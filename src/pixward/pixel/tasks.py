"""What the pixel policies are trained on: clean crops and a damage, as batches for the environment.

Each maker takes ``crops(count) -> (count, 1, H, W)`` and gives ``tasks(count) -> State``; all draw from torch's global
generator, whose state is part of a run's checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pixward.data.corrupt import gaussian_noise, salt_pepper, scratches, text_overlay
from pixward.policies.pixel_half import noise_plane
from pixward.types import State

Draw = Callable[[int], Tensor]
Tasks = Callable[[int], State]

WEIGHED = 25.0
"""The sigma whose pictures count 1. The reward grows with the noise's power: without weights strong noise rules."""


def noise_tasks(crops: Draw, sigma: tuple[float, float], *, condition: bool) -> Tasks:
    """Gaussian noise, of its own strength for each item between the two of ``sigma``.

    With ``condition`` the policy is told how strong. Items are weighted by :data:`WEIGHED` / sigma.
    """

    def tasks(count: int) -> State:
        clean = crops(count)
        image, drawn = gaussian_noise(clean, sigma)
        batch = {"image": image, "clean": clean, "weight": WEIGHED / drawn}
        return batch | ({"condition": noise_plane(drawn, clean)} if condition else {})

    return tasks


def text_tasks(crops: Draw) -> Tasks:
    """Words written over the picture; every sixth picture is scratched instead."""

    def tasks(count: int) -> State:
        clean = crops(count)
        image, _ = text_overlay(clean)
        image[::6] = scratches(clean[::6])[0]
        return {"image": image, "clean": clean}

    return tasks


def salt_pepper_tasks(crops: Draw, density: tuple[float, float] = (0.05, 0.95)) -> Tasks:
    """Pixels turned black or white, with a chance of its own for each item between the two of ``density``.

    Items are weighted by 0.5 / density, since the error that is left grows with it.
    """

    def tasks(count: int) -> State:
        clean = crops(count)
        image, drawn = salt_pepper(clean, density)
        return {"image": image, "clean": clean, "weight": 0.5 / drawn.clamp_min(0.05)}

    return tasks
