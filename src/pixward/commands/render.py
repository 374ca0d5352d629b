"""``pixward render``: a photo at full size with the sliders of a setting file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.image import Photo
    from pixward.settings import Setting
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
    cube: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the setting as a .cube.")] = None,
    cube_size: Annotated[int, typer.Option(metavar="17|33|65", help="Entries along a side of the .cube.")] = 33,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
) -> None:
    """Render PHOTO at full size with the sliders of a setting file.

    The file is JSON, {"editor": "chain:photo", "setting": {"exposure": 0.5}}, as pixward match writes it. Sliders
    that the file leaves out take their default.

    Example:  pixward render photo.jpg --setting matched/photo.setting.json --out print.tiff --bits 16
    Example:  pixward render photo.jpg --setting matched/photo.setting.json --out print.png --cube look.cube
    """
    from pixward.commands.editors import is_real, load_editor
    from pixward.commands.match_job import Format, check_picture_options
    from pixward.commands.outputs import check_outputs, staged
    from pixward.commands.photos import render_to
    from pixward.image import load
    from pixward.settings import read_setting

    check_picture_options(bits, Format.png, cube_size)
    if out.suffix.lower() not in SUFFIXES:
        raise PixwardError(f"cannot write {out}: give it the ending {', '.join(SUFFIXES)}")
    outputs = [out] if cube is None else [out, cube]
    check_outputs(outputs, (photo, setting), force=force)
    wanted = read_setting(setting)
    _check_consent(wanted.editor, editor, setting)
    if is_real(wanted.editor):
        if cube is not None:
            raise PixwardError(f"--cube with {wanted.editor}: use pixward match, whose editor stays open for it")
        _render_real(photo, wanted, out, bits)
        return
    chosen = load_editor(wanted.editor)
    try:
        chosen.space.from_dict(wanted.values)
    except ValueError as error:
        raise PixwardError(f"{setting}: {error}") from None
    picture = load(photo)
    with staged(outputs) as place:
        render_to(place[out], picture, chosen, wanted.values, bits)
        if cube is not None:
            _bake(place[cube], chosen, wanted.values, picture, cube_size)


def _bake(place: Path, editor: Editor, values: Mapping[str, float], photo: Photo, size: int) -> None:
    """Write the table, and say what it cannot hold."""
    from pixward.commands.console import stdout
    from pixward.commands.cubes import bake_to
    from pixward.framing import PREVIEW
    from pixward.image import preview

    lost = bake_to(place, editor, values, preview(photo, PREVIEW), size=size, title=place.stem)
    stdout().print(str(lost["sentence"]), soft_wrap=True)


def _check_consent(named: str, given: str | None, path: Path) -> None:
    """PixwardError where the file names an editor that would run code, and the command line does not name it too."""
    from pixward.commands.editors import EDITORS, REAL

    if given is not None and given != named:
        raise PixwardError(f"{path} is a setting of {named}, not of {given}")
    if given is None and named not in (*EDITORS, *REAL) and ":" in named and not named.startswith("chain:"):
        raise PixwardError(f"{path} names the editor {named}, which is code: pass --editor {named} if you trust it")


def _render_real(photo: Path, wanted: Setting, out: Path, bits: int | None) -> None:
    """By the real editor itself, at full size, with the sidecar that the setting stands for."""
    from pixward.commands.editors import real_program
    from pixward.commands.outputs import staged
    from pixward.editors.pool import Frame
    from pixward.image import load
    from pixward.raw import is_raw, open_raw
    from pixward.real import FULL_SECONDS

    if out.suffix.lower() == ".webp":
        raise PixwardError(f"cannot write {out}: {wanted.editor} writes .jpg, .png or .tiff")
    raw = is_raw(photo)
    program = real_program(wanted.editor, raw=raw, extra=_further(wanted))
    try:
        row = program.space.from_dict(wanted.values)
    except ValueError as error:
        raise PixwardError(f"the setting file: {error}") from None
    if raw:
        with open_raw(photo) as file:
            longest = int(max(file.sizes.width, file.sizes.height))
    else:
        longest = max(load(photo).size)
    text = program.sidecar(program.space.to_dict(row), Frame(photo, str(photo), raw, longest))
    with staged([out]) as place:
        program.final(
            photo,
            text,
            place[out],
            bits=bits or (8 if out.suffix.lower() in (".jpg", ".jpeg") else 16),
            seconds=FULL_SECONDS,
        )


def _further(wanted: Setting) -> tuple[str, ...]:
    """The sliders that somebody asked for by --slider, which have a dot in their names, as --slider wants them."""
    names = [name for name in wanted.values if "." in name]
    if wanted.editor.removesuffix(":raw") != "darktable":
        return tuple(names)
    # Their range is not known any more. It must hold the value and, as every range that can, 0: a slider whose range
    # begins at the value would have it as its default, and sliders at their defaults leave their module switched off.
    values = wanted.values
    return tuple(f"{name}={min(0.0, values[name]) - 1}:{max(0.0, values[name]) + 1}" for name in names)
