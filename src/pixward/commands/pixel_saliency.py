"""``pixward pixel saliency``: every pixel adjusts itself until people look where a mask says."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixward.commands.callables import load_callable
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

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.commands.noisy import Noisy
    from pixward.commands.pixel_run import Outcome
    from pixward.pixel.edits import Edits
    from pixward.pixel.saliency import Steered
    from pixward.policies.pixel import PixelPolicy
    from pixward.rewards.saliency import Saliency

TOLERANCE = 0.01
"""How far the aspect ratios of picture and mask may differ."""


def command(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Photos in colour, .npy arrays, or folders.")],
    mask: Annotated[
        Path, typer.Option(metavar="MASK", help="Picture, white where people should look. Or a folder of STEM.png.")
    ],
    weights: Weights = "saliency",
    saliency: Annotated[
        str, typer.Option(metavar="NAME|FILE|module:callable", help="The model that says where people look.")
    ] = "default",
    lower: Annotated[bool, typer.Option("--lower", help="Make people look elsewhere than at the mask.")] = False,
    out: Out = DEFAULT_OUT,
    steps: Steps = None,
    maps: Maps = False,
    forbid: Forbid = None,
    replace: Replace = None,
    freeze: Freeze = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Change brightness, saturation and contrast locally so that a photo draws the eye to a place.

    --saliency module:callable takes any function of images (B, 3, H, W) in [0, 1] that returns (B, H, W) in [0, 1]; it
    is only called, and imports its module, also from the current folder. Steps that the model does not think better
    are left out. Writes DIR/STEM.png, and DIR/STEM.npy where the input was an array. All files appear, or none.

    Example:  pixward pixel saliency photo.jpg --mask bird.png --out eye-catching --maps
    """
    from pixward.commands.pixel_run import EditWords, PixelJob, read_rgb, run_job, targets, tell, write_rgb
    from pixward.commands.pixel_weights import pixel_policy

    words = EditWords.of(forbid, replace, freeze)
    others = [path for path in (mask, freeze) if path is not None]
    pictures = targets(inputs, out, maps=maps, force=force, others=others)
    name = weights or "saliency"
    policy = pixel_policy(name, "saliency")
    if policy.settings.condition != 2:
        raise PixwardError(
            f"{name} is not told a mask and the saliency, so it cannot follow them: choose other weights"
        )
    model = load_model(saliency)
    for picture in pictures:
        read_soft_mask(mask, read_rgb(picture.source))  # What makes no sense is said before any work is done.
    work = _steering(policy, mask, model, steps, lower)
    job = PixelJob("saliency", name, policy, work, words, read_rgb, write_rgb, as_json)
    rows = run_job(job, pictures)
    head = {"weights": name, "saliency": saliency, "lower": lower, "steps": steps or policy.settings.horizon}
    tell(rows, head, as_json=as_json)
    if not as_json:
        for row in rows:
            told = ", ".join(f"{side} the mask {a:.3f} -> {b:.3f}" for side, (a, b) in row["saliency"].items())
            typer.echo(f"  saliency {told}; {row['kept']} steps, mean change {row['distance']:.1f} in Lab")


def load_model(name: str) -> Saliency:
    """The saliency model that ``name`` stands for: one that ships, a file of weights, or ``module:callable``.

    Raises:
        PixwardError: there is no such thing.
    """
    from pixward.policies.saliency import load_saliency
    from pixward.policies.weights import find_weights

    if find_weights(name, "saliency") is not None:
        try:
            return load_saliency(name)
        except ValueError as error:
            raise PixwardError(str(error)) from None
    known = "give default, a file of recipes/saliency.py, or module:callable"
    own = load_callable(name, "saliency model", known)
    return _own_model(name, own)


def _own_model(name: str, own: Callable[[Tensor], Tensor]) -> Saliency:
    """The user's model, whose errors name it."""

    def model(images: Tensor) -> Tensor:
        try:
            return own(images)
        except Exception as error:
            raise PixwardError(f"the saliency model {name} failed: {type(error).__name__}: {error}") from error

    return model


def read_soft_mask(given: Path, noisy: Noisy) -> Tensor:
    """The mask for a picture, ``(1, H, W)`` in [0, 1], 1 where it is white; ``given`` may be a folder of masks.

    A mask of another size but the same framing is enlarged or reduced, with a note.

    Raises:
        PixwardError: no such picture, another framing, or one that marks nothing or everything.
    """
    import torch
    import torch.nn.functional as F

    from pixward.commands.noisy import read_noisy
    from pixward.commands.pixel_run import mask_for

    path = mask_for(given, noisy.path)
    values = torch.from_numpy(read_noisy(path).values).clamp(0, 1).mean(0)[None, None]
    height, width = noisy.values.shape[1:]
    tall, wide = values.shape[2:]
    if (tall, wide) != (height, width):
        sizes = f"the mask {path} is {wide} x {tall} pixels and {noisy.path} {width} x {height}"
        off = min(abs(wide - tall * width / height), abs(width - height * wide / tall))
        ratio = wide * height / (tall * width)
        if off >= 1 and max(ratio, 1 / ratio) > 1 + TOLERANCE:
            raise PixwardError(f"{sizes}: they must show the same framing; crop one of them")
        warnings.warn(f"{sizes}: the mask is resized", stacklevel=2)
        values = F.interpolate(values, (height, width), mode="bilinear", antialias=True).clamp(0, 1)
    if not bool((values > 0.5).any()):
        raise PixwardError(f"the mask {path} marks nothing: paint white where people should look")
    if not bool((values < 0.5).any()):
        raise PixwardError(f"the mask {path} marks the whole picture: leave black where people should not look")
    return values[0]


def _steering(
    policy: PixelPolicy, mask: Path, model: Saliency, steps: int | None, lower: bool
) -> Callable[[Noisy, Edits], Outcome]:
    def work(noisy: Noisy, edits: Edits) -> Outcome:
        import torch

        from pixward.commands.pixel_run import Outcome
        from pixward.pixel.saliency import steer

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its note was given when it was checked
            marked = read_soft_mask(mask, noisy)
        photo = torch.from_numpy(noisy.values)[None]
        try:
            found = steer(policy, photo, 1 - marked if lower else marked, model, steps, edits)
        except ValueError as error:
            raise PixwardError(str(error)) from None
        if not found.kept:
            warnings.warn(f"{noisy.path}: no step was an improvement, so it stays as it is", stacklevel=2)
        inside, outside = (found.outside, found.inside) if lower else (found.inside, found.outside)
        facts = {
            "kept": found.kept,
            "saliency": {
                "inside": [round(value, 4) for value in inside],
                "outside": [round(value, 4) for value in outside],
            },
            "distance": round(found.distance, 3),
        }
        return Outcome(found.result[0], found.trace, "colour", facts, _panels(photo, marked, found))

    return work


def _panels(photo: Tensor, mask: Tensor, found: Steered) -> list[tuple[str, Tensor]]:
    from pixward.pixel.maps import heat

    return [
        ("mask", photo.clamp(0, 1) * (0.2 + 0.8 * mask[:, None])),
        ("saliency before", heat(found.before)),
        ("saliency after", heat(found.after)),
    ]
