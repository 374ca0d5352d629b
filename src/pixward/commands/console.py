"""What commands share in talking to a person: tables on stdout, progress on stderr, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def stdout() -> Console:
    """A console for results; plain text, with room for whole sentences, where stdout is no terminal."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def progress(*columns: str, quiet: bool) -> Progress:
    """A progress display on stderr that vanishes when done; nothing where stderr is no terminal or ``quiet``.

    ``columns`` are further texts, e.g. ``"{task.fields[psnr]}"``.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shown = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *map(TextColumn, columns)]
    off = quiet or not sys.stderr.isatty()
    return Progress(*shown, TimeElapsedColumn(), console=Console(stderr=True), transient=True, disable=off)


def countdown(*columns: str, quiet: bool) -> Progress:
    """The same with an estimate of the time that is left, for work that takes long."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    shown = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *map(TextColumn, columns)]
    times = [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
    off = quiet or not sys.stderr.isatty()
    # By default the last half minute alone is looked at, in which a slow photo may not even end.
    period = 3600.0
    return Progress(
        *shown, *times, console=Console(stderr=True), transient=True, disable=off, speed_estimate_period=period
    )


def print_json(data: Mapping[str, Any] | list[Any]) -> None:
    """``data`` as JSON on stdout: plain ASCII, so that every terminal, pipe and file name is safe."""
    print(json.dumps(data, indent=2, allow_nan=False))


def number(value: float, width: float) -> str:
    """A slider's value with as many digits as its range of ``width`` makes sensible."""
    digits = 1 if width >= 50 else 3
    return f"{round(value, digits) + 0.0:.{digits}f}"  # No minus sign before a zero.
