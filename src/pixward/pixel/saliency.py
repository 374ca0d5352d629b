"""Saliency-driven editing of a photo: people should look where a mask says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.metrics.image import srgb_to_lab
from pixward.pixel.blend import blend
from pixward.pixel.edits import Edits
from pixward.pixel.run import improve
from pixward.pixel.trace import Trace, rounded
from pixward.policies.pixel import PixelPolicy
from pixward.rewards.saliency import (
    Saliency,
    SaliencyReward,
    inside_and_outside,
    look,
    saliency_condition,
    saliency_target,
)

PREVIEW = 256
"""Longest side in pixels of the copy that decisions are made on, and that the saliency model is shown."""


@dataclass(frozen=True, eq=False)
class Steered:
    """A photo that people should look at elsewhere than before.

    Attributes:
        result: ``(1, 3, H, W)`` in [0, 1], at full size.
        trace: the steps that were kept, on the copy; all of them where none was, so that one sees what was tried.
        kept: how many steps were kept; 0 where none was an improvement, and the photo is as it was.
        before: saliency of the copy before, ``(1, h, w)``.
        after: saliency of the result, reduced like the copy.
        inside: mean saliency inside the mask, before and after.
        outside: mean saliency outside, before and after.
        distance: mean CIE 1976 difference in Lab between photo and result.
    """

    result: Tensor
    trace: Trace
    kept: int
    before: Tensor
    after: Tensor
    inside: tuple[float, float]
    outside: tuple[float, float]
    distance: float


@torch.inference_mode()
def steer(
    policy: PixelPolicy,
    photo: Tensor,
    mask: Tensor,
    saliency: Saliency,
    steps: int | None = None,
    edits: Edits | None = None,
) -> Steered:
    """Let every pixel act, ``steps`` times at most, so that ``photo`` draws the eye to ``mask``.

    Decisions are made on a copy of :data:`PREVIEW` pixels and blended to full size. The reward, saliency and the price
    of change both, says after which step to stop: a photo never gets worse in the eyes of ``saliency``, whichever
    model that is. It is called ``steps + 3`` times.

    Args:
        policy: for the actions of SALIENCY, told a mask and the saliency at the start.
        photo: ``(1, 3, H, W)``, sRGB in [0, 1].
        mask: ``(1, H, W)`` in [0, 1].
        saliency: the model; only called.
        steps: the policy's own horizon if not given.
        edits: what a person changes in its decisions; its masks are of the photo's size.

    Raises:
        ValueError: shapes that do not fit, a mask without an inside or outside, or a model that returns another shape.
    """
    if photo.ndim != 4 or photo.shape[:2] != (1, 3) or mask.shape != photo[:, 0].shape:
        raise ValueError(
            f"need a photo (1, 3, H, W) and a mask (1, H, W), got {tuple(photo.shape)}, {tuple(mask.shape)}"
        )
    if not (mask > 0.5).any() or not (mask < 0.5).any():
        raise ValueError("the mask must mark a part of the picture: neither nothing nor all")
    photo = photo.clamp(0, 1)
    size = small_size((photo.shape[2], photo.shape[3]))
    copy, part = _reduced(photo, size), _reduced(mask[:, None], size)[:, 0]
    condition = saliency_condition(copy, part, saliency)
    trace = improve(policy, copy, steps, None if edits is None else _shrunk(edits, size), condition=condition)
    reward, target = SaliencyReward(saliency), saliency_target(copy, part)
    scores = [float(reward(image, target).mean()) for image in trace.images()]
    kept = max(range(len(scores)), key=scores.__getitem__)
    result = photo if not kept else blend(policy.actions, photo, trace.maps[:kept], mask, part).clamp(0, 1)
    before, after = condition[:, 1], look(saliency, _reduced(result, size))
    if kept:
        trace = Trace(trace.actions, trace.start, trace.maps[:kept], list(trace.images())[kept], condition)
    (a, b), (c, d) = inside_and_outside(before, part), inside_and_outside(after, part)
    return Steered(
        result,
        trace,
        kept,
        before,
        after,
        (float(a), float(c)),
        (float(b), float(d)),
        lab_change(photo, result),
    )


def lab_change(photo: Tensor, result: Tensor) -> float:
    """Mean CIE 1976 difference between two sRGB pictures ``(1, 3, H, W)``, as 8-bit files hold them."""
    rows = [
        (srgb_to_lab(rounded(a)) - srgb_to_lab(rounded(b))).square().sum(1).sqrt().sum()
        for a, b in zip(photo.split(256, 2), result.split(256, 2), strict=True)  # 200 MB less for a large photo
    ]
    return float(torch.stack(rows).sum() / (photo.shape[2] * photo.shape[3]))


def small_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the copy of a photo of ``size``; a small photo is its own copy."""
    scale = min(1.0, PREVIEW / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _reduced(planes: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(planes.shape[2:]) == size:
        return planes
    return F.interpolate(planes, size, mode="bilinear", antialias=True).clamp(0, 1)


def _shrunk(edits: Edits, size: tuple[int, int]) -> Edits:
    def small(mask: Tensor) -> Tensor:
        return _reduced(mask[None, None].float(), size)[0, 0] > 0.5

    painted = [(small(mask), index) for mask, index in edits.painted]
    frozen = None if edits.frozen is None else small(edits.frozen)
    return Edits(edits.actions, edits.forbidden, edits.replaced, painted, frozen)
