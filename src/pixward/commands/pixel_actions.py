"""``pixward pixel actions``: what a pixel can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.ops.pixel import ActionSet


def command(
    task: Annotated[
        str | None,
        typer.Argument(metavar="[TASK|FILE]", help="A set, a command (denoise, ...), or weights. Default: all sets."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: set -> list of actions.")] = False,
) -> None:
    """List the actions that a pixel chooses from, as --forbid and --replace name them.

    Example:  pixward pixel actions colour
    """
    from pixward.commands.console import print_json

    sets = _sets(task)
    if as_json:
        print_json({actions.name: list(actions.names) for actions in sets})
        return
    for actions in sets:
        kind = "grey" if actions.channels == 1 else "colour"
        typer.echo(f"{actions.name} ({kind} pictures)")
        for index, name in enumerate(actions.names):
            typer.echo(f"  {index:2d}  {name}")


def _sets(task: str | None) -> list[ActionSet]:
    from pathlib import Path

    from pixward.commands.pixel_weights import NAMES
    from pixward.ops.pixel import ACTION_SETS
    from pixward.policies.pixel import load_pixel_policy
    from pixward.policies.weights import find_weights

    if task is None:
        return list(ACTION_SETS.values())
    if not Path(task).is_file():
        name = {"denoise": "restore"}.get(task, task)
        if name in ACTION_SETS:
            return [ACTION_SETS[name]]
    if find_weights(task, "pixel") is None:
        known = ", ".join(dict.fromkeys([*ACTION_SETS, *NAMES]))
        raise PixwardError(f"there are no actions {task!r}: give one of {known}, or weights by name or file")
    try:
        return [load_pixel_policy(task).actions]
    except ValueError as error:
        raise PixwardError(str(error)) from None
