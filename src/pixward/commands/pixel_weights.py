"""Which weights ``pixward pixel`` runs with: those that ship, by name, and files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.policies.pixel import PixelPolicy

NAMES = {
    "denoise": ("noise", "noise-denoiser"),
    "restore": ("text", "salt-pepper"),
    "colour": ("colour",),
    "saliency": ("saliency",),
}
"""Weights of each command by name; the first is its default."""
CHANNELS = {"denoise": 1, "restore": 1, "colour": 3, "saliency": 3}
"""Of the pictures that each command's policies work on."""
_SUFFIX = ".pixel.safetensors"


def shipped() -> list[str]:
    """Names of all pixel weights that come with pixward, sorted."""
    folder = resources.files("pixward") / "weights"
    return sorted(path.name.removesuffix(_SUFFIX) for path in folder.iterdir() if path.name.endswith(_SUFFIX))


def pixel_policy(weights: str, command: str) -> PixelPolicy:
    """The policy of that name, or in that file, if it fits ``command``, a key of :data:`NAMES`.

    Raises:
        PixwardError: neither a shipped name nor a file, a damaged file, or a policy for something else.
    """
    from pixward.policies.pixel import load_pixel_policy
    from pixward.policies.weights import find_weights

    how = "`pixward pixel import WEIGHTS.npz --out FILE.safetensors`"
    if Path(weights).suffix.lower() == ".npz" and Path(weights).is_file():
        raise PixwardError(f"{weights} is a file of PixelRL's authors: make one of pixward's with {how}")
    if not Path(weights).is_file():
        for other, names in NAMES.items():
            if weights in names and other != command:
                raise PixwardError(f"the weights {weights} are for `pixward pixel {other}`, not for {command}")
        if find_weights(weights, "pixel") is None:
            ours = [name for name in NAMES[command] if name in shipped()]
            there = f"by name there are: {', '.join(ours)}" if ours else "none comes with this version by name"
            raise PixwardError(f"there is no weight file {weights}; {there}; or import one: {how}")
    try:
        policy = load_pixel_policy(weights)
    except (FileNotFoundError, ValueError) as error:
        raise PixwardError(str(error)) from None
    known, wanted = policy.actions.name, CHANNELS[command]
    family = "saliency" if known.startswith("saliency") else "colour" if policy.actions.channels == 3 else "grey"
    fits = family == "grey" if wanted == 1 else family == command
    if not fits:
        raise PixwardError(f"{weights} is for the task {known}, not for {command}")
    return policy
