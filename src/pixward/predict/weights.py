"""Weight files of policies that predict: the policy, and what its tokens mean."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixward.policies.sequence import SequencePolicy, SequenceSettings
from pixward.policies.weights import load_weights, save_weights
from pixward.predict.caption import CaptionTask
from pixward.predict.colour import ColourTask
from pixward.predict.detect import DetectTask
from pixward.predict.panoptic import PanopticTask
from pixward.predict.task import PredictTask

KIND = "predict"
"""What these weight files say they hold."""

_OWN = "task."
"""Begins the names of tensors that are the task's and not the policy's: those of its ``tensors()``, if it has any."""


def save_policy(path: Path, policy: SequencePolicy, task: PredictTask, precision: torch.dtype = torch.float32) -> None:
    """Write weights and settings of ``policy``, and the description of ``task`` with its tensors, if it has any."""
    settings = {"policy": asdict(policy.settings), "task": task.describe()}
    own = task.tensors() if isinstance(task, PanopticTask) else {}
    tensors = policy.state_dict() | {_OWN + name: value for name, value in own.items()}
    save_weights(path, tensors, KIND, settings, precision)


def load_policy(path: str | Path, task: PredictTask | None = None) -> SequencePolicy:
    """What :func:`save_policy` wrote, with the grammar of ``task`` (without one if None), ready to sample.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, holds something else, another task's tokens or other codes than ``task`` has.
    """
    own, tensors, settings = _read(path)
    try:
        shape = SequenceSettings(**settings["policy"])
        if task is not None and (shape.vocabulary, shape.length) != (task.kind.vocabulary, task.kind.length):
            raise ValueError(
                f"{path}: these weights say {shape.vocabulary} tokens, {task.name} has {task.kind.vocabulary}"
            )
        policy = SequencePolicy(shape, None if task is None else task.kind)
        policy.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: these weights fit no policy of this version of pixward: train it again") from error
    if isinstance(task, PanopticTask):
        for name, value in task.tensors().items():
            # Files may hold half precision.
            if name not in own or not torch.allclose(own[name], value.float().cpu(), 1e-2, 1e-3):
                raise ValueError(f"{path}: these weights were trained with other codes: train the phase mle again")
    return policy.eval()


def load_task(path: str | Path) -> PredictTask:
    """The task that the weights in ``path`` were trained for.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or holds something else.
    """
    own, _, settings = _read(path)
    try:
        return task_of(settings["task"], own)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: these weights are of no task of this version of pixward: train it again") from error


def task_of(description: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> PredictTask:
    """The inverse of ``describe`` and ``tensors``; raises KeyError, TypeError or RuntimeError for what no task said."""
    if description["task"] == "detect":
        return DetectTask(tuple(description["names"]), description["boxes"], description["steps"])
    if description["task"] == "panoptic":
        return PanopticTask.from_description(description, tensors or {})
    if description["task"] == "caption":
        return CaptionTask.from_description(description)
    if description["task"] == "colour":
        return ColourTask.from_description(description)
    raise KeyError(description["task"])


def _read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """The task's tensors, the policy's and the settings of a weight file; raises as :func:`load_weights`."""
    tensors, settings = load_weights(path, KIND)
    own = {name.removeprefix(_OWN): value for name, value in tensors.items() if name.startswith(_OWN)}
    return own, {name: value for name, value in tensors.items() if not name.startswith(_OWN)}, settings
