"""``pixward pixel restore``: text, scratches, or salt and pepper taken off a picture."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pixward.commands.pixel_options import (
    DEFAULT_OUT,
    AsJson,
    Forbid,
    Force,
    Freeze,
    Luma,
    Maps,
    Out,
    Replace,
    Steps,
    Weights,
)
from pixward.errors import PixwardError


class Kind(StrEnum):
    """What lies on the picture."""

    text = "text"
    scratch = "scratch"
    salt_pepper = "salt-pepper"


WEIGHTS = {Kind.text: "text", Kind.scratch: "text", Kind.salt_pepper: "salt-pepper"}
"""The shipped weights for each kind: one policy learnt text and scratches, which are both thin and sharp."""


def command(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Damaged pictures, .npy arrays, or folders.")],
    kind: Annotated[Kind, typer.Option(help="What lies on the picture.")] = Kind.text,
    weights: Weights = None,
    out: Out = DEFAULT_OUT,
    steps: Steps = None,
    luma: Luma = False,
    maps: Maps = False,
    forbid: Forbid = None,
    replace: Replace = None,
    freeze: Freeze = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Take text, scratches, or salt and pepper off grey and colour pictures of any size. Nobody says where they are.

    Takes 8 and 16 bit, float TIFF, and .npy arrays of floats in [0, 1]. Writes DIR/STEM.png, and DIR/STEM.npy where
    the input was an array. All files appear, or none.

    Example:  pixward pixel restore scans/ --kind salt-pepper --out restored --maps
    """
    from pixward.commands.pixel_run import EditWords, PixelJob, clean_grey, run_job, targets, tell
    from pixward.commands.pixel_weights import pixel_policy

    words = EditWords.of(forbid, replace, freeze)
    pictures = targets(inputs, out, maps=maps, force=force, others=[freeze] if freeze else [])
    name = weights or WEIGHTS[kind]
    policy = pixel_policy(name, "restore")
    if policy.settings.condition:
        raise PixwardError(f"{name} wants to be told how strong the noise is: use `pixward pixel denoise`")
    work = clean_grey(policy, steps, luma, lambda image, light: None)
    rows = run_job(PixelJob("restore", name, policy, work, words, quiet=as_json), pictures)
    head = {"weights": name, "kind": kind.value, "steps": steps or policy.settings.horizon}
    tell(rows, head, as_json=as_json)
