"""Photos on their way through a command: opened with their goal, and rendered at full size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.errors import PixwardError
from pixward.image import Photo, load, preview, resize_to, save

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.types import Editor

PREVIEW = 256
"""Longest side in pixels of the copies that are searched on and compared."""
TOLERANCE = 0.01
"""How far the aspect ratios of photo and goal may differ and still show the same framing."""
_DEEP = (".png", ".tif", ".tiff")


def open_pair(photo: Path, goal: Path) -> tuple[Photo, Tensor, Tensor]:
    """The photo, its preview and the goal's, both ``(1, 3, h, w)`` in [0, 1] with :data:`PREVIEW` as longest side.

    Raises:
        PixwardError: a file that is no picture, or pictures that are framed differently.
    """
    source = load(photo)
    target = load(goal)
    check_framing(source.size, target.size)
    small = preview(source, PREVIEW)
    return source, small, _fitted(target, (small.shape[2], small.shape[3]))


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


def render_to(place: Path, photo: Photo, editor: Editor, setting: Mapping[str, float], bits: int | None) -> None:
    """Render ``photo`` at full size and write it to ``place`` with its EXIF, profile and alpha.

    ``bits``: 8, 16, or None for 16 where photo and format have more than 8, else 8.
    """
    from pixward.editors.fullsize import render_fullsize

    depth = bits or (16 if photo.bits > 8 and place.suffix.lower() in _DEEP else 8)
    pixels = render_fullsize(editor, photo.pixels, editor.space.from_dict(setting)[None], bits=depth)
    save(place, pixels, like=photo, bits=depth)


def _fitted(goal: Photo, size: tuple[int, int]) -> Tensor:
    """``goal`` at exactly ``size`` (h, w)."""
    small = preview(goal, max(size))
    if small.shape[2:] != size and max(goal.size) > max(size):
        small = preview(goal, 4 * max(size))  # A pixel off: reduce from a larger copy rather than soften a small one.
    return resize_to(small, size)
