"""Running a pixel policy on a picture of any size, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pixward.ops.pixel import STOP
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
    policy: PixelPolicy,
    image: Tensor,
    steps: int | None = None,
    edits: Edits | None = None,
    watch: Watch | None = None,
    condition: Tensor | None = None,
) -> Trace:
    """Let every pixel take its best action, ``steps`` times.

    Large images go through in tiles whose overlap is as wide as the policy sees, so that the result is the same.

    Args:
        policy: what decides.
        image: ``(B, C, H, W)`` float32, noise and all: neither clipped nor rounded.
        steps: how many; the policy's own horizon if not given.
        edits: what a person changes in its decisions.
        watch: called with the item of the batch and the share of its work that is done.
        condition: ``(B, K, H, W)`` where the policy reads one, such as :func:`pixward.policies.pixel_half.noise_plane`.

    Raises:
        ValueError: an image or condition of another shape or type, NaN or infinity in it, no steps, or masks of
            another size.
    """
    count = policy.settings.horizon if steps is None else steps
    if count < 1:
        raise ValueError(f"steps must be at least 1, got {count}")
    _check(policy, image, condition)
    size = (image.shape[2], image.shape[3])
    edits = edits or Edits(policy.actions)
    edits.check(size)
    maps = torch.empty(count, image.shape[0], *size, dtype=torch.uint8, device=image.device)
    result = torch.empty_like(image)
    remembers = policy.settings.recurrent or policy.settings.design != "dilated"
    # Without a limit to what it sees, a policy must see all of the picture.
    most = EPISODE_PIXELS if remembers and policy.reach is not None else size[0] * size[1]
    for item in range(image.shape[0]):
        done = 0
        one = slice(item, item + 1)
        for tile in tiles(size, count * (policy.reach or 0), most):
            scene = _Scene(image[(one, slice(None), *tile.seen)], _part(condition, one, tile.seen))
            part, chosen = _episode(policy, scene, count, edits.within(tile.seen))
            result[(item, slice(None), *tile.core)] = part[(0, slice(None), *tile.inner)]
            maps[(slice(None), item, *tile.core)] = chosen[(slice(None), 0, *tile.inner)]
            done += maps[(0, 0, *tile.core)].numel()
            if watch is not None:
                watch(item, done / (size[0] * size[1]))
    return Trace(policy.actions, image, maps, result, condition)


@dataclass(frozen=True, eq=False)
class _Scene:
    """One picture, or tile of it, and its condition; ``(1, ., H, W)`` each."""

    image: Tensor
    condition: Tensor | None


def _part(planes: Tensor | None, items: slice, area: tuple[slice, slice]) -> Tensor | None:
    return None if planes is None else planes[(items, slice(None), *area)]


def _episode(policy: PixelPolicy, scene: _Scene, steps: int, edits: Edits) -> tuple[Tensor, Tensor]:
    """One tile from the first step to the last: the image afterwards, and its action maps ``(T, 1, H, W)``."""
    image, condition = scene.image, scene.condition
    size = (image.shape[2], image.shape[3])
    parts = list(tiles(size, policy.reach or 0, STEP_PIXELS if policy.reach is not None else size[0] * size[1]))
    maps = torch.empty(steps, 1, *size, dtype=torch.uint8, device=image.device)
    stop = policy.actions.index(STOP) if STOP in policy.actions.names else None
    memory: Tensor | None = None
    for step in range(steps):
        following: Tensor | None = None
        for tile in parts:
            part = (..., *tile.seen)
            known = _part(condition, slice(None), tile.seen)
            logits, remembered = policy(image[part], None if memory is None else memory[part], known)
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
        if stop is not None and step:
            maps[step][maps[step - 1] == stop] = stop
        image = policy.actions.apply(image, maps[step], condition)
        if stop is not None and bool((maps[step] == stop).all()):
            maps[step + 1 :] = stop
            break
    return image, maps


def _check(policy: PixelPolicy, image: Tensor, condition: Tensor | None) -> None:
    channels = policy.actions.channels
    if image.ndim != 4 or image.shape[1] != channels or not image.numel():
        raise ValueError(f"the policy works on (B, {channels}, H, W), got {tuple(image.shape)}")
    if image.dtype != torch.float32:
        raise ValueError(f"the policy works on float32, got {image.dtype}")
    if not bool(image.isfinite().all()):
        raise ValueError("the image holds NaN or infinity")
    planes, wanted = (0 if condition is None else condition.shape[1]), policy.settings.condition
    if planes != wanted:
        raise ValueError(f"the policy needs {wanted} condition planes, such as the noise or a mask; got {planes}")
    if condition is not None and condition.shape != (image.shape[0], wanted, *image.shape[2:]):
        raise ValueError(f"the condition is {tuple(condition.shape)}, the image {tuple(image.shape)}")
    if condition is not None and not bool(condition.isfinite().all()):
        raise ValueError("the condition holds NaN or infinity")
