"""The options of ``pixward match``, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixward.commands.editors import EDITOR_HELP
from pixward.commands.match_job import Format

Photos = Annotated[list[Path], typer.Argument(metavar="PHOTO", help="The photos to edit; they are never changed.")]
Goal = Annotated[
    Path | None,
    typer.Option(
        metavar="GOAL",
        help="The picture PHOTO should look like; a .cube: PHOTO with that table of colours; "
        "embedded: the camera's JPEG inside a raw file.",
    ),
]
GoalDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="A folder with a goal for each PHOTO, of the same name.")
]
Like = Annotated[
    Path | None,
    typer.Option(metavar="REF", help="Any other picture, of any scene and size, whose look PHOTO should have."),
]
OneSetting = Annotated[
    bool, typer.Option("--one-setting", help="One setting for all photos: a series that looks alike.")
]
Jobs = Annotated[int, typer.Option(metavar="N", min=1, max=256, help="How many photos are worked on side by side.")]
Sheet = Annotated[int, typer.Option(metavar="N", min=0, help="How many of many photos DIR/contact.jpg shows; 0: none.")]
Editor = Annotated[str, typer.Option(metavar="E", help=EDITOR_HELP)]
Strategy = Annotated[
    str,
    typer.Option(
        metavar="S", help="hybrid, policy, least-squares, cmaes, greedy, random, gradient, monolithic or cascaded."
    ),
]
Renders = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="How many times the editor may render; default 10, real editors 30."),
]
Lock = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Hold a slider. May be given several times.")
]
Extra = Annotated[
    list[str] | None,
    typer.Option("--slider", metavar="FIELD", help="One more slider of a real editor, as sharpen.amount=0:1."),
]
Networks = Annotated[
    Path | None, typer.Option(metavar="RUN", help="Folder of your own networks, from pixward train edit.")
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where the files go; made if missing.")]
Cube = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also write the setting as a .cube; of many photos: a folder for them."),
]
CubeSize = Annotated[int, typer.Option(metavar="17|33|65", help="Entries along a side of the .cube.")]
RenderSeconds = Annotated[
    float, typer.Option(metavar="S", min=0.1, help="Time for a render of a real editor; full size: 15 times that.")
]
Sidecar = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where a real editor's sidecar goes; default: beside PHOTO.")
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Same seed, same search.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already, and a sidecar.")]
FileFormat = Annotated[Format, typer.Option("--format", help="Of the full-size render.")]
Bits = Annotated[
    int | None, typer.Option(metavar="8|16", help="Per channel. Default: as the photo has, where the format can.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
