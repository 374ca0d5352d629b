"""The two phases of task rewards, and their control, for any task: likelihood, then the reward or more likelihood.

Each phase has a folder with ``log.jsonl``, ``checkpoint.pt`` and ``policy.safetensors``; one that stopped goes on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from pixward.policies.sequence import SequencePolicy
from pixward.predict.task import PredictTask, Source, new_policy
from pixward.predict.weights import load_policy, save_policy
from pixward.run import Run
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.workers import Workers

PhaseName = Literal["mle", "reward", "more"]


@dataclass(frozen=True)
class Phase:
    """One phase.

    Attributes:
        kind: ``mle`` from the beginning, ``reward`` from weights, ``more`` likelihood from the same weights, on
            pictures that the lessons before did not have.
        folder: where everything of it goes.
        begin: a weight file: of this task for ``reward`` and ``more``; for ``mle`` None, or one whose encoder to take.
        likelihood, reinforce: settings of whichever trainer the phase has.
        batch: pictures in a small batch.
        held_out: pictures of each evaluation.
        minutes: stop at the first checkpoint after these.
    """

    kind: PhaseName
    folder: Path
    begin: Path | None = None
    likelihood: LikelihoodSettings = field(default_factory=LikelihoodSettings)
    reinforce: ReinforceSettings = field(default_factory=ReinforceSettings)
    batch: int = 32
    held_out: int = 200
    minutes: float = float("inf")

    def __post_init__(self) -> None:
        """Raises ValueError for an empty batch or evaluation."""
        for name in ("batch", "held_out"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 picture, got {getattr(self, name)}")

    @property
    def seed(self) -> int:
        """Of whichever trainer the phase has."""
        return self.reinforce.seed if self.kind == "reward" else self.likelihood.seed


def begun(task: PredictTask, phase: Phase, width: int = 128) -> SequencePolicy:
    """The policy that ``phase`` starts from; new weights are drawn with the phase's seed.

    Raises:
        FileNotFoundError, ValueError: ``phase.begin`` is missing, damaged, or another task's.
    """
    if phase.kind != "mle":
        if phase.begin is None:
            raise ValueError(f"the phase {phase.kind} starts from trained weights: set begin")
        return load_policy(phase.begin, task)
    torch.manual_seed(phase.seed)
    policy = new_policy(task, width)
    if phase.begin is not None:
        encoder = load_policy(phase.begin).encoder_state()
        if policy.settings.channels == 1 and policy.settings.stem == "conv":
            # A grey picture is one whose three channels are equal.
            encoder["stem.0.weight"] = encoder["stem.0.weight"].sum(1, keepdim=True)
        policy.load_state_dict(encoder, strict=False)
    return policy


def run_phase(
    task: PredictTask, policy: SequencePolicy, phase: Phase, source: Source, held_out: Source, workers: Workers
) -> Iterator[dict[str, float]]:
    """Train ``policy`` in place; yields a line of figures after each checkpoint, its weights being written."""
    run = Run(phase.folder, resume=True) if workers.first else None

    def measure(_: int) -> dict[str, float]:
        return task.evaluate(policy, held_out, phase.held_out)

    if phase.kind == "reward":
        rewarded = task.rewarded(source, phase.batch)
        lines = reinforce(policy, rewarded, phase.reinforce, run, workers, evaluate=measure)
    else:
        lessons = task.lessons(source, phase.batch, phase.seed)
        lines = likelihood(policy, lessons, phase.likelihood, run, workers, measure)
    began = time.monotonic()
    with run or contextlib.nullcontext():
        for line in lines:
            if workers.first:
                save_policy(phase.folder / "policy.safetensors", policy, task)
            yield line
            if workers.share(time.monotonic() - began > 60 * phase.minutes):
                return
