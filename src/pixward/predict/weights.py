"""Weight files of policies that predict: the policy, and what its tokens mean."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pixward.policies.sequence import SequencePolicy, SequenceSettings
from pixward.policies.weights import load_weights, save_weights
from pixward.predict.detect import DetectTask
from pixward.predict.task import PredictTask

KIND = "predict"
"""What these weight files say they hold."""


def save_policy(path: Path, policy: SequencePolicy, task: PredictTask, precision: torch.dtype = torch.float32) -> None:
    """Write weights and settings of ``policy`` and the description of ``task``."""
    settings = {"policy": asdict(policy.settings), "task": task.describe()}
    save_weights(path, policy.state_dict(), KIND, settings, precision)


def load_policy(path: str | Path, task: PredictTask | None = None) -> SequencePolicy:
    """What :func:`save_policy` wrote, with the grammar of ``task`` (without one if None), ready to sample.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, holds something else, or another task's tokens.
    """
    tensors, settings = load_weights(path, KIND)
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
    return policy.eval()


def load_task(path: str | Path) -> PredictTask:
    """The task that the weights in ``path`` were trained for.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or holds something else.
    """
    _, settings = load_weights(path, KIND)
    try:
        return task_of(settings["task"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: these weights are of no task of this version of pixward: train it again") from error


def task_of(description: dict[str, Any]) -> PredictTask:
    """The inverse of ``describe``; raises KeyError or TypeError for what no task said."""
    if description["task"] == "detect":
        return DetectTask(tuple(description["names"]), description["boxes"], description["steps"])
    raise KeyError(description["task"])
