"""``pixward render``: a photo at full size with the sliders of a setting file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.types import Editor

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")


def command(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo to edit; it is never changed.")],
    setting: Annotated[Path, typer.Option(metavar="FILE", help="A setting file, as pixward match writes it.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="What to write: .jpg, .png, .tiff or .webp.")],
    editor: Annotated[
        str | None, typer.Option(metavar="E", help="Needed, as consent, where the file names an editor of your own.")
    ] = None,
    bits: Annotated[
        int | None, typer.Option(metavar="8|16", help="Per channel. Default: as the photo has, where the format can.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
) -> None:
    """Render PHOTO at full size with the sliders of a setting file.

    The file is JSON, {"editor": "chain:photo", "setting": {"exposure": 0.5}}, as pixward match writes it. Sliders
    that the file leaves out take their default.

    Example:  pixward render photo.jpg --setting matched/photo.setting.json --out print.tiff --bits 16
    """
    from pixward.commands.outputs import check_outputs, staged
    from pixward.commands.photos import render_to
    from pixward.image import load
    from pixward.settings import read_setting

    if bits not in (None, 8, 16):
        raise typer.BadParameter("must be 8 or 16", param_hint="--bits")
    if out.suffix.lower() not in SUFFIXES:
        raise PixwardError(f"cannot write {out}: give it the ending {', '.join(SUFFIXES)}")
    check_outputs([out], (photo, setting), force=force)
    wanted = read_setting(setting)
    chosen = _editor_of(wanted.editor, editor, setting)
    try:
        chosen.space.from_dict(wanted.values)
    except ValueError as error:
        raise PixwardError(f"{setting}: {error}") from None
    picture = load(photo)
    with staged([out]) as place:
        render_to(place[out], picture, chosen, wanted.values, bits)


def _editor_of(named: str, given: str | None, path: Path) -> Editor:
    """The editor a setting file names. One that would import code runs only if the command line names it too."""
    from pixward.commands.editors import EDITORS, load_editor

    if given is not None and given != named:
        raise PixwardError(f"{path} is a setting of {named}, not of {given}")
    if given is None and named not in EDITORS and ":" in named and not named.startswith("chain:"):
        raise PixwardError(f"{path} names the editor {named}, which is code: pass --editor {named} if you trust it")
    return load_editor(named)
