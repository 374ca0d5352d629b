"""``pixward match``: the setting that makes a photo look like a goal."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixward.commands.editors import EDITOR_HELP, is_real
from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.align import Alignment

RENDERS, REAL_RENDERS = 10, 30
"""How many renders a search may use when nobody says; a real editor's sliders are less well known."""


class Format(StrEnum):
    """File formats of the full-size render; the value is the suffix."""

    jpg = "jpg"
    png = "png"
    tiff = "tiff"


def command(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo to edit; it is never changed.")],
    goal: Annotated[
        Path,
        typer.Option(
            metavar="GOAL", help="The picture it should look like; embedded: the camera's JPEG inside a raw file."
        ),
    ],
    editor: Annotated[str, typer.Option(metavar="E", help=EDITOR_HELP)] = "chain:photo",
    strategy: Annotated[
        str, typer.Option(metavar="S", help="hybrid, policy, least-squares, cmaes, greedy, random or gradient.")
    ] = "hybrid",
    renders: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="How many times the editor may render; default 10, real editors 30."),
    ] = None,
    lock: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Hold a slider. May be given several times.")
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option("--slider", metavar="FIELD", help="One more slider of a real editor, as sharpen.amount=0:1."),
    ] = None,
    networks: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Folder of your own networks, from pixward train edit.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go; made if missing.")] = Path(
        "pixward-out"
    ),
    render_seconds: Annotated[
        float, typer.Option(metavar="S", min=0.1, help="Time for a render of a real editor; full size: 15 times that.")
    ] = 60.0,
    sidecar: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where a real editor's sidecar goes; default: beside PHOTO.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Same seed, same search.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace files of an earlier run, and a sidecar.")] = False,
    file_format: Annotated[Format, typer.Option("--format", help="Of the full-size render.")] = Format.jpg,
    bits: Annotated[
        int | None, typer.Option(metavar="8|16", help="Per channel. Default: as the photo has, where the format can.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Find the setting that makes PHOTO look like GOAL.

    Writes DIR/PHOTO.setting.json, the full-size render DIR/PHOTO.jpg and DIR/PHOTO.film.png, a picture of the search.
    With darktable, RawTherapee or a program of your own as the editor also the sidecar that the editor opens, beside
    PHOTO; a sidecar that is there stays, and the new one gets a number.

    Example:  pixward match photo.jpg --goal liked.jpg --lock sharpness=0 --out matched
    Example:  pixward match photo.nef --goal embedded --editor darktable
    """
    _check_bits(bits, file_format)
    files = Files(photo, goal, Outputs.of(out, photo.stem, file_format), sidecar, force, bits)
    renders = renders or (REAL_RENDERS if is_real(editor) else RENDERS)
    job = Job(
        files, editor, strategy, renders, parse_locks(lock or []), seed, networks, tuple(extra or ()), render_seconds
    )
    run_job(job, as_json=as_json)


@dataclass(frozen=True)
class Outputs:
    """The three files of a match."""

    setting: Path
    image: Path
    film: Path

    @classmethod
    def of(cls, folder: Path, stem: str, file_format: Format) -> Outputs:
        """Their names in ``folder`` for a photo called ``stem``."""
        return cls(folder / f"{stem}.setting.json", folder / f"{stem}.{file_format.value}", folder / f"{stem}.film.png")

    def paths(self) -> list[Path]:
        """All three."""
        return [self.setting, self.image, self.film]


@dataclass(frozen=True)
class Finish:
    """What there is to tell beside the search.

    Attributes:
        seconds: of the full-size render.
        sidecar: what the editor opens, if it is a real one.
        version: of a real editor.
        agreement: PSNR in dB between the search's last word and the full-size render, for a real editor.
        alignment: how a raw file's goal was laid over it.
    """

    seconds: float
    sidecar: Path | None = None
    version: str = ""
    agreement: float | None = None
    alignment: Alignment | None = None


@dataclass(frozen=True)
class Files:
    """What a match reads and writes, see :func:`command`."""

    photo: Path
    goal: Path
    outputs: Outputs
    sidecar: Path | None
    force: bool
    bits: int | None


@dataclass(frozen=True)
class Job:
    """A parsed command line, see :func:`command`."""

    files: Files
    editor: str
    strategy: str
    renders: int
    locked: dict[str, float]
    seed: int
    networks: Path | None
    extra: tuple[str, ...] = ()
    seconds: float = 60.0


def _check_bits(bits: int | None, file_format: Format) -> None:
    if bits not in (None, 8, 16):
        raise typer.BadParameter("must be 8 or 16", param_hint="--bits")
    if bits == 16 and file_format is Format.jpg:
        raise typer.BadParameter("a JPEG holds 8 bits only; add --format png or tiff", param_hint="--bits")


def parse_locks(texts: list[str]) -> dict[str, float]:
    """``["exposure=0.5"]`` as ``{"exposure": 0.5}``; typer.BadParameter for anything else."""
    locked: dict[str, float] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        try:
            number = float(value)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE, as in exposure=0.5", param_hint="--lock") from None
        if not name or not equals:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE, as in exposure=0.5", param_hint="--lock")
        if name in locked:
            raise typer.BadParameter(f"{name} is locked twice", param_hint="--lock")
        locked[name] = number
    return locked


def run_job(job: Job, *, as_json: bool) -> None:
    """Do it: check, search, render, write, tell.

    Raises:
        PixwardError: a file, slider, editor or strategy that will not do; nothing is written then.
        ValueError: the same, where the library found it.
    """
    from torch import Tensor

    from pixward.commands.editors import load_editor
    from pixward.commands.matching import check_locks, search, tell
    from pixward.commands.outputs import check_outputs, staged
    from pixward.commands.photos import open_pair, render_to
    from pixward.report import film
    from pixward.settings import setting_text

    files = job.files
    check_outputs(files.outputs.paths(), (files.photo, files.goal), force=files.force)
    if is_real(job.editor):
        from pixward.commands.match_real import run_real

        run_real(job, as_json=as_json)
        return
    if job.extra or files.sidecar:
        raise PixwardError(f"--slider and --sidecar are for real editors, and {job.editor} is none")
    editor = load_editor(job.editor)
    check_locks(job.locked, editor)
    photo, source, goal, alignment = open_pair(files.photo, files.goal)
    result = search(job, editor, source, goal, quiet=as_json)
    start = time.perf_counter()
    with staged(files.outputs.paths()) as place:
        render_to(place[files.outputs.image], photo, editor, result.setting, files.bits)
        seconds = time.perf_counter() - start
        shown = goal if isinstance(goal, Tensor) else goal.image
        strip = io.BytesIO()  # Written by Python, not by Pillow, whose error on a full disk does not say so.
        film(source, shown, result, editor.space, (files.photo.name, files.goal.name)).save(
            strip, "PNG", compress_level=3
        )
        place[files.outputs.film].write_bytes(strip.getbuffer())
        place[files.outputs.setting].write_text(setting_text(job.editor, result.setting), encoding="utf-8")
    tell(job, result, editor.space, Finish(seconds, alignment=alignment), as_json=as_json)
