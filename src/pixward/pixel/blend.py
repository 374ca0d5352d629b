"""From decisions on a preview to a photo at full size, without the seams that single pixels' choices would leave."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.ops.filter import gaussian_blur
from pixward.ops.pixel import ActionSet

SOFT = 0.012
"""How far neighbours have a say, as a share of the preview's longest side."""


@torch.inference_mode()
def blend(
    actions: ActionSet, photo: Tensor, maps: Tensor, mask: Tensor | None = None, small: Tensor | None = None
) -> Tensor:
    """``photo`` ``(1, C, H, W)`` after what ``maps`` ``(T, 1, h, w)`` decided on a smaller copy of it.

    In each step a pixel does every action, weighted by how many of the small pixels about its place chose it. With a
    mask, only those on its own side of it have a say, so that the edge is the mask's at full size.

    Args:
        actions: what the indices stand for.
        photo: any size.
        maps: one choice per pixel of the copy and step.
        mask: ``(1, H, W)`` in [0, 1].
        small: the mask of the copy, ``(1, h, w)`` in [0, 1].

    Raises:
        ValueError: one of the masks is missing, or sizes that do not fit.
    """
    if (mask is None) != (small is None):
        raise ValueError("give both masks, or none")
    if mask is None or small is None:
        mask, small = torch.ones_like(photo[:, 0]), torch.ones_like(maps[0], dtype=photo.dtype)
    if mask.shape != photo[:, 0].shape or small.shape != maps[0].shape:
        raise ValueError(f"masks {tuple(mask.shape)} and {tuple(small.shape)} do not fit photo and maps")
    sigma = SOFT * max(maps.shape[2:])
    size = (photo.shape[2], photo.shape[3])
    sides = [(mask, small), (1 - mask, 1 - small)]
    about = [gaussian_blur(part[:, None], sigma) for _, part in sides]
    image = photo
    for chosen in maps:
        counts = actions.counts(chosen)
        total = torch.zeros_like(image)
        for index in (index for index, count in enumerate(counts) if count):
            votes = (chosen == index).unsqueeze(1).to(photo.dtype)
            weight = torch.zeros_like(image[:, :1])
            for (here, part), every in zip(sides, about, strict=True):
                said = gaussian_blur(votes * part[:, None], sigma)
                # Where nobody of this side is near, all neighbours count.
                share = torch.where(every > 1e-4, said / every.clamp_min(1e-4), gaussian_blur(votes, sigma))
                weight += here[:, None] * F.interpolate(share, size, mode="bilinear", align_corners=False)
            total += weight * actions.actions[index](image, None)
        image = total
    return image
