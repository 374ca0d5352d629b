"""``pixward pixel colour``: every pixel picks its own colour adjustments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixward.commands.pixel_options import (
    DEFAULT_OUT,
    AsJson,
    Forbid,
    Force,
    Freeze,
    Maps,
    Out,
    Replace,
    Steps,
    Weights,
)
from pixward.errors import PixwardError


def command(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Pictures in colour, .npy arrays, or folders.")],
    weights: Weights = "colour",
    out: Out = DEFAULT_OUT,
    steps: Steps = None,
    maps: Maps = False,
    forbid: Forbid = None,
    replace: Replace = None,
    freeze: Freeze = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Enhance the colours of photos locally, in the style that the weights were trained for.

    Takes 8 and 16 bit, float TIFF, and .npy arrays of sRGB floats in [0, 1]; other profiles are converted to sRGB for
    the work and back for the file. Writes DIR/STEM.png, and DIR/STEM.npy where the input was an array. All files
    appear, or none.

    Example:  pixward pixel colour photos/ --out enhanced --forbid "more saturation" --maps
    """
    from pixward.commands.pixel_run import (
        EditWords,
        PixelJob,
        clean_colour,
        read_rgb,
        run_job,
        targets,
        tell,
        write_rgb,
    )
    from pixward.commands.pixel_weights import pixel_policy

    words = EditWords.of(forbid, replace, freeze)
    pictures = targets(inputs, out, maps=maps, force=force, others=[freeze] if freeze else [])
    name = weights or "colour"
    policy = pixel_policy(name, "colour")
    if policy.settings.condition:
        raise PixwardError(f"{name} wants to be told more than the picture: it is not for colour")
    job = PixelJob("colour", name, policy, clean_colour(policy, steps), words, read_rgb, write_rgb, as_json)
    rows = run_job(job, pictures)
    tell(rows, {"weights": name, "steps": steps or policy.settings.horizon}, as_json=as_json)
