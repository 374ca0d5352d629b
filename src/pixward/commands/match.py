"""``pixward match``: the setting that makes a photo look like a goal."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.match import MatchResult
    from pixward.params import ParamSpace
    from pixward.types import Editor


class Format(StrEnum):
    """File formats of the full-size render; the value is the suffix."""

    jpg = "jpg"
    png = "png"
    tiff = "tiff"


def command(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo to edit; it is never changed.")],
    goal: Annotated[Path, typer.Option(metavar="GOAL", help="The picture it should look like, of the same framing.")],
    editor: Annotated[
        str, typer.Option(metavar="E", help="chain:photo, chain:paper, or module:attribute.")
    ] = "chain:photo",
    strategy: Annotated[
        str, typer.Option(metavar="S", help="hybrid, policy, least-squares, cmaes, greedy, random or gradient.")
    ] = "hybrid",
    renders: Annotated[int, typer.Option(metavar="N", min=1, help="How many times the editor may render.")] = 10,
    lock: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Hold a slider. May be given several times.")
    ] = None,
    networks: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Folder of your own networks, from pixward train edit.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go; made if missing.")] = Path(
        "pixward-out"
    ),
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Same seed, same search.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace files of an earlier run.")] = False,
    file_format: Annotated[Format, typer.Option("--format", help="Of the full-size render.")] = Format.jpg,
    bits: Annotated[
        int | None, typer.Option(metavar="8|16", help="Per channel. Default: as the photo has, where the format can.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Find the setting that makes PHOTO look like GOAL.

    Writes DIR/PHOTO.setting.json, the full-size render DIR/PHOTO.jpg and DIR/PHOTO.film.png, a picture of the search.

    Example:  pixward match photo.jpg --goal liked.jpg --lock sharpness=0 --out matched
    """
    if bits not in (None, 8, 16):
        raise typer.BadParameter("must be 8 or 16", param_hint="--bits")
    if bits == 16 and file_format is Format.jpg:
        raise typer.BadParameter("a JPEG holds 8 bits only; add --format png or tiff", param_hint="--bits")
    locked = parse_locks(lock or [])
    outputs = Outputs.of(out, photo.stem, file_format)
    job = Job(photo, goal, editor, strategy, renders, locked, seed, networks, outputs, force, bits)
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
class Job:
    """A parsed command line, see :func:`command`."""

    photo: Path
    goal: Path
    editor: str
    strategy: str
    renders: int
    locked: dict[str, float]
    seed: int
    networks: Path | None
    outputs: Outputs
    force: bool
    bits: int | None


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
    from pixward.commands.editors import load_editor
    from pixward.commands.outputs import check_outputs, staged
    from pixward.commands.photos import open_pair, render_to
    from pixward.report import film
    from pixward.settings import setting_text

    check_outputs(job.outputs.paths(), (job.photo, job.goal), force=job.force)
    editor = load_editor(job.editor)
    try:
        editor.space.from_dict(job.locked)
    except ValueError as error:
        raise PixwardError(f"--lock: {error}") from None
    photo, source, goal = open_pair(job.photo, job.goal)
    result = _search(job, editor, source, goal, quiet=as_json)
    start = time.perf_counter()
    with staged(job.outputs.paths()) as place:
        render_to(place[job.outputs.image], photo, editor, result.setting, job.bits)
        seconds = time.perf_counter() - start
        strip = io.BytesIO()  # Written by Python, not by Pillow, whose error on a full disk does not say so.
        film(source, goal, result, editor.space, (job.photo.name, job.goal.name)).save(strip, "PNG", compress_level=3)
        place[job.outputs.film].write_bytes(strip.getbuffer())
        place[job.outputs.setting].write_text(setting_text(job.editor, result.setting), encoding="utf-8")
    if as_json:
        _print_json(job, result, seconds)
    else:
        _print_table(job, result, seconds, editor.space)


def _search(job: Job, editor: Editor, source: Tensor, goal: Tensor, *, quiet: bool) -> MatchResult:
    from pixward.commands.console import progress
    from pixward.match import build, match
    from pixward.search.problem import Trial, psnr

    with progress("renders", "{task.fields[best]}", quiet=quiet) as display:
        task = display.add_task("Searching", total=job.renders, best="")
        best = [float("inf")]

        def watch(trial: Trial) -> None:
            best[0] = min(best[0], trial.mse)
            display.update(task, advance=1, best=f"{psnr(best[0]):.1f} dB")

        found = match(
            source,
            goal,
            editor=editor,
            strategy=build(job.strategy, editor, job.networks),
            renders=job.renders,
            locked=job.locked,
            seed=job.seed,
            on_render=watch,
        )
    return replace(found, strategy=job.strategy)


def _print_json(job: Job, result: MatchResult, seconds: float) -> None:
    from pixward.commands.console import print_json

    print_json(
        {
            "editor": job.editor,
            "strategy": result.strategy,
            "setting": result.setting,
            "renders": result.renders,
            "distance": result.distance,
            "source_distance": result.source_distance,
            "seconds": {"search": round(result.seconds, 4), "render": round(seconds, 4)},
            "outputs": {
                "setting": str(job.outputs.setting),
                "image": str(job.outputs.image),
                "film": str(job.outputs.film),
            },
            "unreached": result.unreached,
        }
    )


def _print_table(job: Job, result: MatchResult, seconds: float, space: ParamSpace) -> None:
    from rich.table import Table
    from rich.text import Text

    from pixward.commands.console import number, stdout

    console = stdout()
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("slider")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for spec in space:
        value = result.setting[spec.name]
        note = " (locked)" if spec.name in job.locked else ""
        style = "dim" if value == spec.default else ""
        table.add_row(spec.name, number(value, spec.high - spec.low), f"{spec.unit}{note}", style=style)
    console.print(table)
    console.print()
    distances = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("distance to the goal", "PSNR", "SSIM", "deltaE"):
        distances.add_column(column, justify="left" if column.startswith("distance") else "right")
    for label, row in (("photo, untouched", result.source_distance), ("photo, matched", result.distance)):
        distances.add_row(label, f"{row['psnr']:.2f} dB", f"{row['ssim']:.4f}", f"{row['delta_e']:.2f}")
    console.print(distances)
    console.print()
    if result.best is None:
        console.print("No render came nearer to the goal than the photo itself, so every slider stays at its default.")
    elif result.distance["psnr"] < result.source_distance["psnr"]:
        reason = "a slider is locked" if job.locked else f"{job.editor} changes the photo even at its defaults"
        words = f"The photo itself is nearer to the goal than any render, but cannot be had: {reason}."
        console.print(words, soft_wrap=True)
    console.print(str(result.unreached["sentence"]), soft_wrap=True)
    count = "1 render" if result.renders == 1 else f"{result.renders} renders"
    timing = f"{count} in {result.seconds:.1f} s, full-size render in {seconds:.1f} s"
    console.print(timing, style="dim")
    for path in job.outputs.paths():
        # A file name may hold brackets, which rich would read as markup, or bytes that are no text.
        console.print(Text(f"wrote {path}".encode("utf-8", "replace").decode()), soft_wrap=True)
