"""Where to read a picture when all of its pixels are too many."""

from __future__ import annotations

import torch
from torch import Tensor


def even(length: int, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Positions of at most ``count`` pixels spread evenly over ``length``, ``(min(length, count),)`` int64.

    >>> even(10, 2)
    tensor([2, 7])
    """
    count = min(length, count)
    return ((torch.arange(count, device=device) + 0.5) * length / count).long()
