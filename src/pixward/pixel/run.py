"""Running a pixel policy on a picture of any size, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pixward.pixel.edits import Edits
from pixward.pixel.tiles import tiles
from pixward.pixel.trace import Trace
from pixward.policies.pixel import PixelPolicy

STEP_PIXELS = 260_000
"""How many pixels one step of the network works on at once: about 0.5 GB."""
EPISODE_PIXELS = 4_000_000
"""How many pixels a recurrent policy remembers at once: about 2 GB."""

Watch = Callable[[int, float], None]


@torch.inference_mode()
def improve(
    policy: PixelPolicy, image: Tensor, steps: int | None = None, edits: Edits | None = None, watch: Watch | None = None
) -> Trace:
    """Let every pixel take its best action, ``steps`` times.

    Large images go through in tiles whose overlap is as wide as the policy sees, so that the result is the same.

    Args:
        policy: what decides.
        image: ``(B, C, H, W)`` float32, noise and all: neither clipped nor rounded.
        steps: how many; the policy's own horizon if not given.
        edits: what a person changes in its decisions.
        watch: called with the item of the batch and the share of its work that is done.

    Raises:
        ValueError: an image of another shape or type, NaN or infinity in it, no steps, or masks of another size.
    """
    count = policy.settings.horizon if steps is None else steps
    if count < 1:
        raise ValueError(f"steps must be at least 1, got {count}")
    _check(policy, image)
    size = (image.shape[2], image.shape[3])
    edits = edits or Edits(policy.actions)
    edits.check(size)
    maps = torch.empty(count, image.shape[0], *size, dtype=torch.uint8, device=image.device)
    result = torch.empty_like(image)
    most = EPISODE_PIXELS if policy.settings.recurrent else size[0] * size[1]
    for item in range(image.shape[0]):
        done = 0
        for tile in tiles(size, count * policy.reach, most):
            part, chosen = _episode(policy, image[item : item + 1][(..., *tile.seen)], count, edits.within(tile.seen))
            result[(item, slice(None), *tile.core)] = part[(0, slice(None), *tile.inner)]
            maps[(slice(None), item, *tile.core)] = chosen[(slice(None), 0, *tile.inner)]
            done += maps[(0, 0, *tile.core)].numel()
            if watch is not None:
                watch(item, done / (size[0] * size[1]))
    return Trace(policy.actions, image, maps, result)


def _episode(policy: PixelPolicy, image: Tensor, steps: int, edits: Edits) -> tuple[Tensor, Tensor]:
    """One tile from the first step to the last: the image afterwards, and its action maps ``(T, 1, H, W)``."""
    size = (image.shape[2], image.shape[3])
    parts = list(tiles(size, policy.reach, STEP_PIXELS))
    maps = torch.empty(steps, 1, *size, dtype=torch.uint8, device=image.device)
    memory: Tensor | None = None
    for step in range(steps):
        following: Tensor | None = None
        for tile in parts:
            part = (..., *tile.seen)
            logits, remembered = policy(image[part], None if memory is None else memory[part])
            chosen = edits.within(tile.seen).choose(logits)
            maps[(step, slice(None), *tile.core)] = chosen[(..., *tile.inner)]
            if remembered is None or step == steps - 1:
                continue
            if len(parts) == 1:
                following = remembered
                continue
            if following is None:
                shape = (1, remembered.shape[1], *size)
                following = torch.empty(shape, device=image.device, memory_format=torch.channels_last)
            following[(..., *tile.core)] = remembered[(..., *tile.inner)]
        memory = following
        image = policy.actions.apply(image, maps[step])
    return image, maps


def _check(policy: PixelPolicy, image: Tensor) -> None:
    channels = policy.actions.channels
    if image.ndim != 4 or image.shape[1] != channels or not image.numel():
        raise ValueError(f"the policy works on (B, {channels}, H, W), got {tuple(image.shape)}")
    if image.dtype != torch.float32:
        raise ValueError(f"the policy works on float32, got {image.dtype}")
    if not bool(image.isfinite().all()):
        raise ValueError("the image holds NaN or infinity")
