"""``pixward train edit``: train the networks of an editor."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Algorithm(StrEnum):
    """How to train."""

    pretrain = "pretrain"
    td3 = "td3"


def command(
    photos: Annotated[list[Path], typer.Option(metavar="DIR", help="Folder of photos. May be given several times.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run: log, checkpoints, weights.")],
    editor: Annotated[
        str, typer.Option(metavar="E", help="chain:photo, chain:paper, or module:attribute.")
    ] = "chain:photo",
    algorithm: Annotated[Algorithm, typer.Option(help="pretrain is supervised; td3 reinforces what it gave.")] = (
        Algorithm.pretrain
    ),
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Updates; default: the algorithm's own.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(metavar="M", min=0, help="Stop and save after this long.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Fixes photos, tasks and noise.")] = 0,
    device: Annotated[str, typer.Option(metavar="D", help="cpu, cuda, ...")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print log lines as JSON.")] = False,
) -> None:
    """Train the networks that know an editor's sliders.

    Example:  pixward train edit --photos photos/ --out runs/mine --minutes 60
    """
    from pixward.errors import PixwardError

    raise PixwardError("training is not wired in yet")
