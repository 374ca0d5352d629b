"""``pixward editors``: what can edit here, how fast, and how to get what is missing."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.types import Editor

SIDE, BATCH = 256, 8
"""Longest side of the picture that is timed, and how many settings of it are rendered at once."""


@dataclass(frozen=True)
class Line:
    """One editor: its ``state`` is a version, "built in", or why it cannot be used; ``speed`` in renders a second."""

    name: str
    state: str
    usable: bool
    sliders: int | None = None
    speed: float | None = None


def command(
    command_files: Annotated[
        list[Path] | None, typer.Option("--command", metavar="FILE", help="A command file to look at too; repeatable.")
    ] = None,
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="Time some renders of 256 pixels.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the editors: versions, sliders, renders per second, and how to install what is missing.

    Example:  pixward editors
    """
    from pixward.commands.console import print_json, progress, stdout
    from pixward.commands.editors import COMMAND, EDITORS, REAL

    names = [*EDITORS, *REAL, *(f"{COMMAND}{path}" for path in command_files or [])]
    lines = []
    with progress("{task.fields[name]}", quiet=as_json) as display:
        task = display.add_task("Looking", total=len(names), name="")
        for name in names:
            display.update(task, name=name)
            lines.append(look(name, timed=speed))
            display.advance(task)
    if as_json:
        print_json([asdict(line) for line in lines])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, justify in (("editor", "left"), ("sliders", "right"), ("renders/s", "right"), ("", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for line in lines:
        style = "" if line.usable else "dim"
        quick = "" if line.speed is None else f"{line.speed:.3g}"
        table.add_row(Text(line.name), str(line.sliders or ""), quick, Text(line.state), style=style)
    stdout().print(table)
    if speed:
        stdout().print(
            f"renders/s: {BATCH} settings of a picture of {SIDE} pixels at once, on this machine", style="dim"
        )


def look(name: str, *, timed: bool) -> Line:
    """One editor of this machine."""
    from pixward.commands.editors import is_real, load_editor, real_program
    from pixward.editors.external import ExternalEditor

    if not is_real(name):
        editor = load_editor(name)
        return Line(name, "built in", True, len(editor.space), _speed(editor) if timed else None)
    try:
        program = real_program(name)
        version, sliders = program.version, len(program.space)
        pace = None
        if timed:
            with ExternalEditor(program) as real:
                pace = _speed(real)
        return Line(name, version or "installed", True, sliders, pace)
    except PixwardError as error:
        return Line(name, str(error), False)


def _speed(editor: Editor) -> float:
    import torch

    rows = torch.linspace(0, 1, SIDE).expand(3, SIDE * 2 // 3, SIDE)
    picture = torch.stack([rows, rows.flip(2), rows * 0.5 + 0.25])[:, 0][None].contiguous()
    generator = torch.Generator().manual_seed(0)
    settings = editor.space.denormalize(torch.rand(2 * BATCH, len(editor.space), generator=generator) - 0.5)
    batch = picture.expand(BATCH, -1, -1, -1)
    editor(batch, settings[:BATCH])  # Starts what has to be started.
    start = time.perf_counter()
    editor(batch, settings[BATCH:])
    return round(BATCH / (time.perf_counter() - start), 1)
