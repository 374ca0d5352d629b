"""``pixward pixel export``: one step of a pixel policy for programs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixward.errors import PixwardError


def command(
    weights: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Shipped weights, or a .safetensors file.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="What to write; ends in .onnx.")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
) -> None:
    """Write one step of a pixel policy as an ONNX model of any image size.

    It turns an image (and what the policy remembers) into a score for every action at every pixel. The file's metadata
    name the actions; doing them is left to the program.

    Example:  pixward pixel export denoise25.safetensors --out step.onnx
    """
    from pixward.commands.outputs import check_outputs, staged
    from pixward.commands.pixel_weights import shipped
    from pixward.pixel.export import export_onnx
    from pixward.policies.pixel import KIND, load_pixel_policy
    from pixward.policies.weights import find_weights

    if out.suffix.lower() != ".onnx":
        raise PixwardError(f"cannot write {out}: give it the ending .onnx")
    if find_weights(weights, KIND) is None:
        there = ", ".join(shipped()) or "none in this version"
        raise PixwardError(f"there is no weight file {weights}; by name there are: {there}")
    if Path(weights).suffix.lower() == ".npz":
        how = "import it first with `pixward pixel import WEIGHTS.npz --out FILE.safetensors`"
        raise PixwardError(f"{weights} is a file of PixelRL's authors: {how}")
    check_outputs([out], [Path(weights)], force=force)
    policy = load_pixel_policy(weights)
    with staged([out]) as place:
        export_onnx(policy, place[out])
        size = place[out].stat().st_size
    typer.echo(f"{out}: {len(policy.actions)} actions, {policy.settings.horizon} steps, {size / 1e6:.1f} MB")
