"""``--cube``: a setting as a table of colours that other programs read, and what such a table cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.types import Editor


def cube_path(place: Path | None, stem: str, *, many: bool) -> Path | None:
    """Where the table of a photo called ``stem`` goes: ``place`` itself, or in it where that is a folder.

    Raises:
        PixwardError: one file for ``many`` photos, each with a setting of its own.
    """
    if place is None:
        return None
    if place.suffix.lower() != ".cube":
        return place / f"{stem}.cube"
    if many:
        raise PixwardError(
            f"each photo gets a setting of its own, and {place} holds one: name a folder with --cube, "
            "or add --one-setting"
        )
    return place


def bake_to(
    place: Path, editor: Editor, setting: Mapping[str, float], source: Tensor, *, size: int, title: str
) -> dict[str, object]:
    """Write the pointwise part of ``setting`` to ``place``; what that leaves out on ``source`` ``(1, 3, h, w)``.

    Raises:
        PixwardError: an editor of raw files, whose input is no colour; a file that cannot be written.
    """
    from pixward.cube import bake, remainder, write_cube

    params = editor.space.from_dict(setting)[None]
    name = "".join(c if c.isprintable() and c != '"' else "?" for c in title)
    cube = bake(editor, params, size, name, like=source)
    write_cube(place, cube, name)
    return {"size": size, **remainder(editor, params, source, cube)}
