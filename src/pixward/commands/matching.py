"""What every ``pixward match`` does: search with a progress display, and tell what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.align import Alignment
    from pixward.commands.match import Finish, Job
    from pixward.match import MatchResult
    from pixward.params import ParamSpace
    from pixward.search.problem import Goal
    from pixward.types import Editor


def check_locks(locked: Mapping[str, float], editor: Editor) -> None:
    """PixwardError for a slider that the editor does not have, or a value that it cannot take."""
    try:
        editor.space.from_dict(locked)
    except ValueError as error:
        raise PixwardError(f"--lock: {error}") from None


def search(job: Job, editor: Editor, source: Tensor, goal: Tensor | Goal, *, quiet: bool) -> MatchResult:
    """The search with its progress display on stderr."""
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


def tell(job: Job, result: MatchResult, space: ParamSpace, finish: Finish, *, as_json: bool) -> None:
    """Print what was found: one JSON object, or tables."""
    if as_json:
        _print_json(job, result, finish)
    else:
        _print_table(job, result, finish, space)


def _print_json(job: Job, result: MatchResult, finish: Finish) -> None:
    from pixward.commands.console import print_json

    outputs = job.files.outputs
    written = {"setting": str(outputs.setting), "image": str(outputs.image), "film": str(outputs.film)}
    answer: dict[str, object] = {
        "editor": job.editor,
        "strategy": result.strategy,
        "setting": result.setting,
        "renders": result.renders,
        "distance": result.distance,
        "source_distance": result.source_distance,
        "seconds": {"search": round(result.seconds, 4), "render": round(finish.seconds, 4)},
        "outputs": written,
        "unreached": result.unreached,
    }
    if finish.sidecar is not None:
        written["sidecar"] = str(finish.sidecar)
        answer |= {"version": finish.version, "agreement": finish.agreement}
    if finish.alignment is not None:
        answer["alignment"] = _laid(finish.alignment)
    print_json(answer)


def _laid(found: Alignment) -> dict[str, object]:
    """How the goal of a raw file was laid over it, as plain data."""
    return {
        "shift": [round(value, 2) for value in found.shift],
        "zoom": round(found.zoom, 4),
        "k1": round(found.k1, 4),
        "turns": found.turns,
        "quality": round(found.quality, 3),
        "compared": round(float((found.weight > 0).float().mean()), 3),
    }


def _print_table(job: Job, result: MatchResult, finish: Finish, space: ParamSpace) -> None:
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
    timing = f"{count} in {result.seconds:.1f} s, full-size render in {finish.seconds:.1f} s"
    console.print(timing, style="dim")
    if finish.alignment is not None:
        laid = _laid(finish.alignment)
        console.print(
            f"goal laid over the raw file: zoom {laid['zoom']}, distortion {laid['k1']}, "
            f"{float(str(laid['compared'])):.0%} of the picture compared",
            style="dim",
        )
    if finish.agreement is not None:
        words = f"the full-size render, reduced, is within {finish.agreement:.1f} dB of what the search saw"
        console.print(f"{job.editor} {finish.version}: {words}", style="dim")
    for path in job.files.outputs.paths():
        # A file name may hold brackets, which rich would read as markup, or bytes that are no text.
        console.print(Text(f"wrote {path}".encode("utf-8", "replace").decode()), soft_wrap=True)
