"""Which weights the commands of Predict run with: those that ship, by name, files, and the folders of runs."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.policies.sequence import SequencePolicy
    from pixward.predict.task import PredictTask

NAMES = ("detect", "panoptic", "colour", "caption")
"""The tasks; weights that ship are called like theirs."""
_SUFFIX = ".predict.safetensors"


def shipped() -> list[str]:
    """Names of all weights of Predict that come with pixward, in the order of :data:`NAMES`."""
    folder = resources.files("pixward") / "weights"
    return [name for name in NAMES if (folder / f"{name}{_SUFFIX}").is_file()]


def weights_file(weights: str) -> Path:
    """Where the weights of that name, in that file or in that folder of a run are.

    Raises:
        PixwardError: neither a shipped name nor a file.
    """
    from pixward.policies.weights import find_weights
    from pixward.predict.weights import KIND

    inside = Path(weights) / "policy.safetensors"
    found = inside if inside.is_file() else find_weights(weights, KIND)
    if found is not None:
        return found
    if weights in NAMES:
        raise PixwardError(
            f"no weights for {weights} come with this version: make some with "
            f"`pixward train predict --task {weights} --out RUN` and give RUN/policy.safetensors"
        )
    by_name = f"by name there are: {', '.join(shipped())}" if shipped() else "none comes with this version by name"
    raise PixwardError(f"there is no weight file {weights}; {by_name}")


def predictor(weights: str | None, task: str | None) -> tuple[SequencePolicy, PredictTask, Path]:
    """A policy ready to sample, its task and its file: of ``weights``, or of those that ship for ``task``.

    Raises:
        PixwardError: neither is given, no such weights, a damaged file, or weights for another task.
    """
    from pixward.predict.weights import load_policy, load_task

    if weights is None and task is None:
        raise PixwardError(
            f"say what to predict: --task {', '.join(NAMES)}; or give weights of your own: --weights FILE"
        )
    path = weights_file(weights or str(task))
    try:
        known = load_task(path)
        policy = load_policy(path, known)
    except (FileNotFoundError, ValueError) as error:
        raise PixwardError(str(error)) from None
    if task is not None and known.name != task:
        raise PixwardError(f"{path} is for the task {known.name}, not for {task}")
    return policy, known, path
