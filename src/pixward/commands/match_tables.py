"""What one ``pixward match`` found, as tables and sentences for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.commands.console import number, stdout
from pixward.commands.matching import laid

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pixward.commands.match_job import Finish, Found, Job
    from pixward.match import MatchResult
    from pixward.params import ParamSpace


def print_found(job: Job, found: Found) -> None:
    """The sliders, the distances, what was not reached, and the files."""
    from pixward.commands.match_run import outputs_of

    console, result = stdout(), found.result
    console.print(sliders_table(found.space, result.setting, job.locked))
    console.print()
    console.print(_distances(result))
    console.print()
    for words in _sentences(job, found):
        console.print(words, soft_wrap=True)
    _asides(console, job, result, found.finish)
    print_files(console, outputs_of(job))


def sliders_table(space: ParamSpace, setting: Mapping[str, float], locked: Mapping[str, float]) -> Table:
    """The sliders with their values; those at their default are dim."""
    table = _table("slider", "value", "unit")
    for spec in space:
        value = setting[spec.name]
        note = " (locked)" if spec.name in locked else ""
        style = "dim" if value == spec.default else ""
        table.add_row(spec.name, number(value, spec.high - spec.low), f"{spec.unit}{note}", style=style)
    return table


def print_files(console: Console, paths: Iterable[Path]) -> None:
    """Which files were written."""
    from rich.text import Text

    for path in paths:
        # A file name may hold brackets, which rich would read as markup, or bytes that are no text.
        console.print(Text(f"wrote {path}".encode("utf-8", "replace").decode()), soft_wrap=True)


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k == 0 or column == "unit" else "right")
    return table


def _distances(result: MatchResult) -> Table:
    rows = (("photo, untouched", result.source_distance), ("photo, matched", result.distance))
    if "look" in result.distance:
        table = _table("distance to the look", "lower is nearer")
        for label, row in rows:
            table.add_row(label, f"{row['look']:.3f}")
        return table
    table = _table("distance to the goal", "PSNR", "SSIM", "deltaE")
    for label, row in rows:
        table.add_row(label, f"{row['psnr']:.2f} dB", f"{row['ssim']:.4f}", f"{row['delta_e']:.2f}")
    return table


def _sentences(job: Job, found: Found) -> list[str]:
    result, words = found.result, []
    if result.best is None:
        words.append("No render came nearer to the goal than the photo itself, so every slider stays at its default.")
    elif "look" in result.distance:
        if result.distance["look"] > result.source_distance["look"]:
            words.append(
                "The photo itself is nearer by this distance, which also sees how the two scenes differ; "
                "the policy's word counts."
            )
    elif result.distance["psnr"] < result.source_distance["psnr"]:
        reason = "a slider is locked" if job.locked else f"{job.editor} changes the photo even at its defaults"
        words.append(f"The photo itself is nearer to the goal than any render, but cannot be had: {reason}.")
    words.append(str(result.unreached["sentence"]))
    if found.finish.cube is not None:
        words.append(str(found.finish.cube["sentence"]))
    return words


def _asides(console: Console, job: Job, result: MatchResult, finish: Finish) -> None:
    count = "1 render" if result.renders == 1 else f"{result.renders} renders"
    timing = f"{count} in {result.seconds:.1f} s, full-size render in {finish.seconds:.1f} s"
    console.print(timing, style="dim")
    if finish.alignment is not None:
        lay = laid(finish.alignment)
        console.print(
            f"goal laid over the raw file: zoom {lay['zoom']}, distortion {lay['k1']}, "
            f"{float(str(lay['compared'])):.0%} of the picture compared",
            style="dim",
        )
    if finish.agreement is not None:
        words = f"the full-size render, reduced, is within {finish.agreement:.1f} dB of what the search saw"
        console.print(f"{job.editor} {finish.version}: {words}", style="dim")
