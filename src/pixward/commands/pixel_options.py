"""The options that all of ``pixward pixel`` share, so that one word means one thing in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_OUT = Path("pixward-out")

Out = Annotated[Path, typer.Option(metavar="DIR", help="Where the files go; made if missing.")]
Weights = Annotated[str | None, typer.Option(metavar="NAME|FILE", help="Weights by name, or a file of your own.")]
Steps = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=100, help="Default: as many as it was trained to take.")
]
Luma = Annotated[bool, typer.Option("--luma", help="Clean the brightness of colour pictures only.")]
Maps = Annotated[bool, typer.Option("--maps", help="Also draw who did what: STEM.maps.png.")]
Forbid = Annotated[
    list[str] | None, typer.Option(metavar="ACTION", help="An action that no pixel may take. Repeatable.")
]
Replace = Annotated[
    list[str] | None, typer.Option(metavar="OLD=NEW", help="Do NEW where a pixel chose OLD. Repeatable.")
]
Freeze = Annotated[
    Path | None,
    typer.Option(metavar="MASK", help="Picture: where it is white nothing happens. Or a folder of STEM.png."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files of an earlier run.")]
