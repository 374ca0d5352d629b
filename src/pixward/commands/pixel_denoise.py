"""``pixward pixel denoise``: every pixel picks its filters until the noise is gone."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pixward.policies.pixel import PixelPolicy

LEAST, MOST = 1.0, 100.0
"""The noise that makes sense, standard deviation on the scale of 0 to 255."""


def command(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Noisy pictures, .npy arrays, or folders.")],
    sigma: Annotated[float, typer.Option(metavar="S", help="How strong the noise is, of 255.")] = 25.0,
    weights: Weights = "noise",
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
    """Remove noise from grey and colour pictures of any size.

    Takes 8 and 16 bit, float TIFF, and .npy arrays of floats in [0, 1], whose noise may leave that range. Writes
    DIR/STEM.png, and DIR/STEM.npy where the input was an array. All files appear, or none.

    Example:  pixward pixel denoise noisy/ --sigma 25 --out clean --maps
    """
    from pixward.commands.pixel_run import EditWords, PixelJob, clean_grey, run_job, targets, tell
    from pixward.commands.pixel_weights import pixel_policy

    if not LEAST <= sigma <= MOST:  # NaN as well
        raise PixwardError(f"--sigma {sigma:g}: the noise must lie between {LEAST:g} and {MOST:g}, of 255")
    words = EditWords.of(forbid, replace, freeze)
    pictures = targets(inputs, out, maps=maps, force=force, others=[freeze] if freeze else [])
    name = weights or "noise"
    policy = pixel_policy(name, "denoise")
    work = clean_grey(policy, steps, luma, _told(policy, sigma, name))
    rows = run_job(PixelJob("denoise", name, policy, work, words, quiet=as_json), pictures)
    head = {"weights": name, "sigma": sigma, "steps": steps or policy.settings.horizon}
    tell(rows, head, as_json=as_json)


def _told(policy: PixelPolicy, sigma: float, name: str) -> Callable[[Tensor, bool], Tensor | None]:
    """What the policy is told of the noise, if it listens; PixwardError for a sigma that it does not know."""
    from pixward.ops.color import REC709
    from pixward.policies.pixel_half import noise_plane

    settings = policy.settings
    if settings.condition == 0:
        if settings.sigma is not None and abs(settings.sigma - sigma) > 0.5:
            warnings.warn(f"{name} was trained for sigma {settings.sigma:g}, not {sigma:g}", stacklevel=2)
        return lambda image, light: None
    if settings.noise is None:
        raise PixwardError(f"{name} wants to be told something else than the noise: it is not for denoise")
    low, high = settings.noise
    if not low <= sigma <= high:
        raise PixwardError(
            f"--sigma {sigma:g}: {name} knows noise between {low:g} and {high:g}; "
            "choose the nearer end, or other weights"
        )
    # Noise that is independent in every channel is weaker in their weighted sum.
    weaker = max(low, sigma * sum(weight**2 for weight in REC709) ** 0.5)
    return lambda image, light: noise_plane(weaker if light else sigma, image)
