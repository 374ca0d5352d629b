"""``pixward pixel import``: the authors' PixelRL weights as a file of pixward's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixward.errors import PixwardError


def command(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS.npz", help="A model as PixelRL's authors publish it.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="What to write; ends in .safetensors.")],
    sigma: Annotated[
        float | None,
        typer.Option(metavar="S", min=1, max=100, help="The noise it is for. Default: what its name says."),
    ] = None,
    steps: Annotated[int, typer.Option(metavar="N", min=1, max=100, help="Steps it was trained to take.")] = 5,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
) -> None:
    """Read PixelRL weights (.npz: plain, convGRU or convGRU+RMC), without Chainer.

    Example:  pixward pixel import pretrained_sigma25.npz --out denoise25.safetensors
    """
    from pixward.commands.outputs import check_outputs, staged
    from pixward.policies.pixel import save_pixel_policy
    from pixward.policies.pixelrl import read_pixelrl

    if out.suffix.lower() != ".safetensors":
        raise PixwardError(f"cannot write {out}: give it the ending .safetensors")
    check_outputs([out], [weights], force=force)
    settings, tensors = read_pixelrl(weights, sigma, steps)
    with staged([out]) as place:
        save_pixel_policy(place[out], settings, tensors)
    kind = "with" if settings.recurrent else "without"
    noise = "" if settings.sigma is None else f", for sigma {settings.sigma:g}"
    typer.echo(f"{out}: {len(tensors)} tensors, {kind} a ConvGRU, {settings.horizon} steps{noise}")
