"""The vocabulary of pixward: read this first.

Seven words describe every system in the library: Image, Editor, Reward, Env, Policy, Rollout, Recipe.
An image is a plain tensor ``(B, 3, H, W)``, float32, display-referred sRGB in [0, 1]. ``P`` is the shape of
one decision: ``()`` where one action is taken per image, ``(H, W)`` where every pixel decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

if TYPE_CHECKING:
    from pixward.params import ParamSpace

State = dict[str, Tensor]
"""What an environment knows between two steps: a dict of tensors, every value ``(B, ...)``."""


@dataclass(frozen=True)
class Action:
    """What a policy decided.

    Attributes:
        value: the action itself, ``(B, *P, ...)``.
        log_prob: log-probability of ``value``, ``(B, *P)``; zeros for a deterministic policy.
        baseline: the policy's own estimate of the return, ``(B, *P)``; zeros where it has none.
        memory: what a recurrent policy wants to find in the next state, beside what the environment puts there; every
            value ``(B, ...)``. A memory begins as zeros.
    """

    value: Tensor
    log_prob: Tensor
    baseline: Tensor
    memory: State = field(default_factory=dict)


@dataclass(frozen=True)
class Rollout:
    """What a trainer learns from: one whole episode for a batch.

    Attributes:
        states: ``T`` states, the one each action was taken in; every value ``(B, ...)``.
        actions: ``(T, B, ...)``.
        log_probs: ``(T, B, *P)``.
        baselines: ``(T, B, *P)``.
        rewards: ``(T, B, *P)``.
        last: the state after the last step.
    """

    states: Sequence[State]
    actions: Tensor
    log_probs: Tensor
    baselines: Tensor
    rewards: Tensor
    last: State


@runtime_checkable
class Editor(Protocol):
    """A black box that renders: ``editor(images, params) -> images``.

    ``images`` are ``(B, 3, H, W)`` in [0, 1], ``params`` ``(B, d)`` in the units of ``space``. Gradients flow
    through the call only where ``differentiable`` is True.
    """

    # Read-only, so that frozen dataclasses are editors too.
    @property
    def name(self) -> str:
        """What the command line and setting files call it."""
        ...

    @property
    def space(self) -> ParamSpace:
        """Its sliders."""
        ...

    @property
    def differentiable(self) -> bool:
        """Whether gradients flow from the render to the sliders."""
        ...

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        """Render ``images`` with ``params``."""
        ...


@runtime_checkable
class Reward(Protocol):
    """A plain callable ``(output, target) -> (B, *P)``; higher is better."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Score ``output`` against ``target``."""
        ...


@runtime_checkable
class Env(Protocol):
    """A batched environment with explicit state."""

    horizon: int

    def reset(self, batch: State) -> State:
        """The first state for a batch of tasks."""
        ...

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor]:
        """The next state and the reward ``(B, *P)``."""
        ...

    def image(self, state: State) -> Tensor:
        """The picture that the state stands for, ``(B, 3, H, W)``."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Anything that decides: usually an ``nn.Module``."""

    def sample(self, state: State) -> Action:
        """Draw one action for each item of the batch."""
        ...

    def evaluate(self, states: State, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability and baseline, ``(B, *P)`` each, of actions taken earlier."""
        ...
