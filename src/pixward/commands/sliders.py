"""``pixward sliders``: what an editor's sliders are."""

from __future__ import annotations

from typing import Annotated

import typer

from pixward.commands.editors import EDITOR_HELP


def command(
    editor: Annotated[str, typer.Option(metavar="E", help=EDITOR_HELP)] = "chain:photo",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List an editor's sliders with their ranges, defaults and units.

    Example:  pixward sliders --editor chain:photo
    """
    from pixward.commands.console import print_json, stdout
    from pixward.commands.editors import load_editor

    space = load_editor(editor).space
    if as_json:
        print_json(space.describe())
        return
    from rich.table import Table

    table = Table(title=editor, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column, justify in (("slider", "left"), ("low", "right"), ("default", "right"), ("high", "right")):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("unit")
    table.add_column("")
    for spec in space:
        values = (f"{value:.4g}" for value in (spec.low, spec.default, spec.high))
        table.add_row(spec.name, *values, spec.unit, f"[dim]{spec.help}[/]")
    stdout().print(table)
