"""The reward of saliency-driven editing: people should look where a mask says, at a picture that is still itself.

The model of saliency is only called, never differentiated. What it is shown is what a person would see: clipped.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pixward.metrics.image import srgb_to_lab

Saliency = Callable[[Tensor], Tensor]
"""``(images (B, 3, H, W) in [0, 1]) -> (B, H, W) in [0, 1]``."""
STAY = 0.25
"""Default price of a change, per 100 units of distance in Lab."""
_LEAST = 0.02  # share that a mask counts as having at least, so that a few pixels do not outweigh the rest


class SaliencyReward:
    """``reward(output, target) -> (B, H, W)``, higher is better; a :class:`pixward.types.Reward`.

    Its mean over the picture is half of (mean saliency inside the mask - mean saliency outside), less ``stay`` times
    the mean change. The change of a pixel is the distance from the photo as it was in (L*, C*) of CIE Lab, over 100: at
    most the CIE 1976 difference, and equal to it where the hue stays, as SALIENCY's actions nearly keep it.

    Args:
        saliency: the model. It is called once for each new ``output`` object.
        stay: the price of a change.
    """

    def __init__(self, saliency: Saliency, stay: float = STAY) -> None:
        """Raises ValueError for a negative price."""
        if not stay >= 0:
            raise ValueError(f"stay must be 0 or more, got {stay}")
        self.saliency, self.stay = saliency, stay
        self._known: list[tuple[Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Score ``output`` ``(B, 3, H, W)`` against ``target``, which :func:`saliency_target` made.

        Raises:
            ValueError: shapes that differ, or a saliency model that does not return ``(B, H, W)``.
        """
        if output.ndim != 4 or output.shape[1] != 3 or output.shape != target.shape:
            raise ValueError(f"need two (B, 3, H, W) of one shape, got {tuple(output.shape)}, {tuple(target.shape)}")
        # An environment scores the picture before a step, which is the one after the step before.
        for known, aim, value in self._known:
            if known is output and aim is target:
                return value
        value = signed(look(self.saliency, output), target[:, 0])
        if self.stay:
            value = value - self.stay * (_light_and_colour(output) - target[:, 1:]).square().sum(1).sqrt()
        self._known = [*self._known[-2:], (output, target, value)]
        return value


def saliency_target(photo: Tensor, mask: Tensor) -> Tensor:
    """What :class:`SaliencyReward` knows of a task, ``(B, 3, H, W)``: the mask, and L* / 100 and C* / 100 of the photo.

    In a photo's shape, so that it takes the place of the clean image in :class:`pixward.envs.pixel.PixelEnv`.

    Args:
        photo: ``(B, 3, H, W)`` in [0, 1], as it was.
        mask: ``(B, H, W)`` in [0, 1], 1 where people should look.

    Raises:
        ValueError: shapes that do not fit.
    """
    if photo.ndim != 4 or photo.shape[1] != 3 or mask.shape != photo[:, 0].shape:
        raise ValueError(
            f"need a photo (B, 3, H, W) and a mask (B, H, W), got {tuple(photo.shape)} and {tuple(mask.shape)}"
        )
    return torch.cat([mask.unsqueeze(1).to(photo), _light_and_colour(photo)], 1)


def saliency_condition(photo: Tensor, mask: Tensor, saliency: Saliency) -> Tensor:
    """What a policy is told beside the photo, ``(B, 2, H, W)``: the mask, and where people look at the photo as it is.

    Raises:
        ValueError: see :func:`look`.
    """
    return torch.stack([mask.to(photo), look(saliency, photo).to(photo)], 1)


def look(saliency: Saliency, images: Tensor) -> Tensor:
    """The saliency ``(B, H, W)`` of ``images`` ``(B, 3, H, W)``, clipped to [0, 1] before and after.

    Raises:
        ValueError: the model returns another shape, or NaN or infinity.
    """
    # In a trainer's half precision the gain of one step would drown in rounding.
    with torch.autocast(images.device.type, enabled=False):
        found = saliency(images.float().clamp(0, 1))
    if not isinstance(found, Tensor) or found.shape != images[:, 0].shape:
        kind = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"the saliency model must return a tensor (B, H, W), here {tuple(images[:, 0].shape)}: {kind}")
    if not bool(found.isfinite().all()):
        raise ValueError("the saliency model returned NaN or infinity")
    return found.detach().float().clamp(0, 1)


def signed(values: Tensor, mask: Tensor) -> Tensor:
    """``values`` ``(B, H, W)``, positive inside ``mask`` and negative outside.

    Both sides count the same however large they are: the mean over the picture is half of (the mean inside - the mean
    outside), but for masks of less than 2 % or more than 98 %.
    """
    share = mask.mean((1, 2), keepdim=True).clamp(_LEAST, 1 - _LEAST)
    return values * (mask / (2 * share) - (1 - mask) / (2 * (1 - share)))


def inside_and_outside(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Means of ``values`` inside and outside ``mask``, both ``(B, H, W)``: ``(B,)``, 0 for an empty side."""
    inside = (values * mask).sum((1, 2)) / mask.sum((1, 2)).clamp_min(1e-6)
    outside = (values * (1 - mask)).sum((1, 2)) / (1 - mask).sum((1, 2)).clamp_min(1e-6)
    return inside, outside


def _light_and_colour(image: Tensor) -> Tensor:
    lab = srgb_to_lab(image.clamp(0, 1)) / 100
    return torch.stack([lab[:, 0], torch.hypot(lab[:, 1], lab[:, 2])], 1)
