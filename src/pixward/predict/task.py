"""What one task of tokens is to trainers, to the command line and to benchmarks: everything but the policy.

Detection, panoptic maps, colours and captions differ in how an answer becomes tokens, in what a lesson is, in the
reward and in the figures that tell how good a policy is; each is one class with these methods, and the loops
(:mod:`pixward.train.likelihood`, :mod:`pixward.train.reinforce`) know none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from pixward.data.synth import SceneBatch
from pixward.policies.sequence import SequencePolicy, SequenceSettings
from pixward.train.task import RewardTask
from pixward.train.workers import Batch
from pixward.types import Decoding


class Source(Protocol):
    """Labelled pictures by number, the same each time: :class:`pixward.data.synth.Scenes`, or a user's own."""

    def batch(self, indices: Iterable[int]) -> SceneBatch:
        """The pictures ``indices``, any numbers from 0."""
        ...


class Tokens(Protocol):
    """A tokeniser of :mod:`pixward.data.tokens`: what a policy may say. It is a :class:`pixward.types.Grammar`."""

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        ...

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        ...

    def allowed(self, tokens: Tensor) -> Tensor:
        """Which tokens may follow ``(N, t)``: ``(N, vocabulary)`` bool."""
        ...


@dataclass(frozen=True)
class Shown:
    """What a policy says of one picture, for people and for machines.

    Attributes:
        picture: ``(3, H, W)`` in [0, 1], the answer drawn on the picture (or the picture coloured).
        said: the answer as JSON.
    """

    picture: Tensor
    said: dict[str, Any]


class PredictTask(Protocol):
    """One task. ``evaluate`` and ``show`` take the most probable answer if ``decoding`` is None."""

    @property
    def name(self) -> str:
        """``detect``, ``panoptic``, ``colour`` or ``caption``."""
        ...

    @property
    def kind(self) -> Tokens:
        """How answers are told."""
        ...

    @property
    def channels(self) -> int:
        """Of the pictures that the policy reads: 3, or 1 where it must not see colours."""
        ...

    def lessons(self, source: Source, batch: int, seed: int = 0) -> Callable[[int], Batch]:
        """Batches for likelihood: ``images``, ``tokens`` and perhaps ``weights``."""
        ...

    def rewarded(self, source: Source, batch: int) -> RewardTask:
        """Pictures, rewards and monitors for REINFORCE."""
        ...

    def evaluate(
        self, policy: nn.Module, source: Source, count: int = 500, decoding: Decoding | None = None
    ) -> dict[str, float]:
        """Figures on the first ``count`` pictures of ``source``, which should be held out."""
        ...

    def show(self, policy: nn.Module, image: Tensor, decoding: Decoding | None = None) -> Shown:
        """What ``policy`` says of one picture ``(3, H, W)`` of any size."""
        ...

    def describe(self) -> dict[str, Any]:
        """All that a weight file needs to bring the task back, as JSON."""
        ...


def new_policy(task: PredictTask, width: int = 128, image: int = 64) -> SequencePolicy:
    """A policy of the default shape for ``task``; seed torch before.

    Raises:
        ValueError: sizes that do not fit.
    """
    settings = SequenceSettings(
        task.kind.vocabulary, task.kind.length, image=image, channels=task.channels, width=width
    )
    return SequencePolicy(settings, task.kind)
