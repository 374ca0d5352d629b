"""Photo and goal of one framing: checked, and brought to one size."""

from __future__ import annotations

from torch import Tensor

from pixward.errors import PixwardError
from pixward.image import Photo, preview, resize_to

PREVIEW = 256
"""Longest side in pixels of the copies that are searched on and compared."""
TOLERANCE = 0.01
"""How far the aspect ratios of photo and goal may differ and still show the same framing."""


def check_framing(photo: tuple[int, int], goal: tuple[int, int]) -> None:
    """PixwardError unless two sizes (width, height) have the same aspect ratio, but for :data:`TOLERANCE`.

    Less than a pixel of rounding in either picture is always forgiven, so that small goals fit as well.
    """
    (w, h), (gw, gh) = photo, goal
    ratio = (w * gh) / (h * gw)
    off = min(abs(gw - gh * w / h), abs(gh - gw * h / w), abs(w - h * gw / gh), abs(h - w * gh / gw))
    if off < 1 or max(ratio, 1 / ratio) <= 1 + TOLERANCE:
        return
    turned = max(w * gw / (h * gh), h * gh / (w * gw)) <= 1 + TOLERANCE
    advice = "turn one of them" if turned else "crop one of them"
    raise PixwardError(
        f"the photo is {w} x {h} pixels and the goal {gw} x {gh}: they must show the same framing; {advice}"
    )


def fitted(goal: Photo, size: tuple[int, int]) -> Tensor:
    """``goal`` at exactly ``size`` (h, w), ``(1, 3, h, w)``."""
    small = preview(goal, max(size))
    if small.shape[2:] != size and max(goal.size) > max(size):
        small = preview(goal, 4 * max(size))  # A pixel off: reduce from a larger copy rather than soften a small one.
    return resize_to(small, size)
