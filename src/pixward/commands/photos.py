"""Photos on their way through a command: opened with their goal, and rendered at full size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.errors import PixwardError
from pixward.framing import PREVIEW, check_framing, fitted
from pixward.image import Photo, load, preview, quantize, save

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.align import Alignment
    from pixward.commands.match_job import Files
    from pixward.search.problem import Goal, Look
    from pixward.types import Editor

EMBEDDED = "embedded"
"""What ``--goal`` says for the camera's JPEG inside a raw file."""
CUBE = ".cube"
"""How the names of tables of colours end."""
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


def is_cube(path: Path) -> bool:
    """Whether a goal is a table of colours rather than a picture."""
    return path.suffix.lower() == CUBE


def unframed_goal(files: Files) -> Callable[[Tensor], Tensor | Look] | None:
    """What makes the goal out of the photo's preview ``(1, 3, h, w)``, if no other framing can be wrong; else None.

    A look takes the picture of another scene as it is; a table of colours makes the goal out of the photo itself.

    Raises:
        PixwardError: a file that is no picture, or no .cube.
    """
    if files.look:
        from pixward.search.problem import Look

        reference = Look(preview(load(files.goal), PREVIEW))
        return lambda _: reference
    if is_cube(files.goal):
        from pixward.cube import read_cube

        cube = read_cube(files.goal)
        return lambda source: quantize(cube.apply(source))
    return None


def open_pair(files: Files) -> tuple[Photo, Tensor, Tensor | Goal | Look, Alignment | None]:
    """The photo, its preview and its goal; previews are ``(1, 3, h, w)`` in [0, 1], :data:`PREVIEW` at the longest.

    The goal of a raw file is laid over it, see :func:`pixward.align.align`, and weighted by what corresponds.

    Raises:
        PixwardError: a file that is no picture, or pictures that are framed differently.
    """
    source = load(files.photo)
    small = preview(source, PREVIEW)
    free = unframed_goal(files)
    if free is not None:
        return source, small, free(small), None
    target = load_goal(files.photo, files.goal)
    if not _from_raw(files.photo):
        check_framing(source.size, target.size)
        return source, small, fitted(target, (small.shape[2], small.shape[3])), None
    from pixward.align import align
    from pixward.search.problem import Goal

    found = align(preview(target, 2 * PREVIEW), small)
    return source, small, Goal(quantize(found.goal), found.weight), found


def shown_goal(goal: Tensor | Goal | Look) -> tuple[Tensor, Tensor | None]:
    """What people are shown of a goal, ``(1, 3, h, w)``, and what each of its pixels counts, ``(1, 1, h, w)``."""
    from pixward.search.problem import Goal, Look

    if isinstance(goal, Look):
        return goal.reference, None
    return (goal.image, goal.weight) if isinstance(goal, Goal) else (goal, None)


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
