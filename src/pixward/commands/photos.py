"""Photos on their way through a command: opened with their goal, and rendered at full size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.errors import PixwardError
from pixward.framing import PREVIEW, check_framing, fitted
from pixward.image import Photo, load, preview, save

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.align import Alignment
    from pixward.search.problem import Goal
    from pixward.types import Editor

EMBEDDED = "embedded"
"""What ``--goal`` says for the camera's JPEG inside a raw file."""
_DEEP = (".png", ".tif", ".tiff")


def load_goal(photo: Path, goal: Path) -> Photo:
    """The goal's pixels; of ``embedded`` the JPEG inside the raw file ``photo``.

    Raises:
        PixwardError: a file that is no picture, or a raw file without a JPEG.
    """
    if str(goal) != EMBEDDED or goal.exists():
        return load(goal)
    from pixward.raw import embedded_jpeg, is_raw

    if not is_raw(photo):
        raise PixwardError(f"{photo} is no camera raw file, so there is no JPEG inside it: name a picture with --goal")
    return embedded_jpeg(photo)


def open_pair(photo: Path, goal: Path) -> tuple[Photo, Tensor, Tensor | Goal, Alignment | None]:
    """The photo, its preview and the goal's, both ``(1, 3, h, w)`` in [0, 1] with :data:`PREVIEW` as longest side.

    The goal of a raw file is laid over it, see :func:`pixward.align.align`, and weighted by what corresponds.

    Raises:
        PixwardError: a file that is no picture, or pictures that are framed differently.
    """
    source = load(photo)
    target = load_goal(photo, goal)
    small = preview(source, PREVIEW)
    if not _from_raw(photo):
        check_framing(source.size, target.size)
        return source, small, fitted(target, (small.shape[2], small.shape[3])), None
    from pixward.align import align
    from pixward.image import quantize
    from pixward.search.problem import Goal

    found = align(preview(target, 2 * PREVIEW), small)
    return source, small, Goal(quantize(found.goal), found.weight), found


def _from_raw(photo: Path) -> bool:
    from pixward.raw import is_raw

    return is_raw(photo)


def render_to(place: Path, photo: Photo, editor: Editor, setting: Mapping[str, float], bits: int | None) -> None:
    """Render ``photo`` at full size and write it to ``place`` with its EXIF, profile and alpha.

    ``bits``: 8, 16, or None for 16 where photo and format have more than 8, else 8.
    """
    from pixward.editors.fullsize import render_fullsize

    depth = bits or (16 if photo.bits > 8 and place.suffix.lower() in _DEEP else 8)
    pixels = render_fullsize(editor, photo.pixels, editor.space.from_dict(setting)[None], bits=depth)
    save(place, pixels, like=photo, bits=depth)
