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
    import torch

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


# --- tokens: what a policy of system 2 says -------------------------------------------------------------------------


@dataclass(frozen=True)
class Decoding:
    """How tokens are drawn from a policy's logits; re-scoring with the same object gives the same log-probabilities.

    Attributes:
        temperature: logits are divided by it, above 0; 0 takes the most probable token and scores it as 1 does.
        top_p: only the fewest most probable tokens whose shares add up to at least this are drawn, in (0, 1].
    """

    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError for a value outside its range."""
        if not self.temperature >= 0:
            raise ValueError(f"temperature must be at least 0, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1], got {self.top_p}")


@dataclass(frozen=True)
class Samples:
    """``K`` sequences of ``L`` tokens for each of ``B`` images.

    Attributes:
        tokens: ``(B, K, L)`` int64; all that follows the end token is the end token again.
        log_probs: of each token given those before it, ``(B, K, L)``, 0 where ``mask`` is False.
        mask: ``(B, K, L)`` bool, True up to the end token and on it.
    """

    tokens: Tensor
    log_probs: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Scores:
    """What a policy thinks of given tokens ``(B, K, L)``; carries gradients.

    Attributes:
        log_probs: of each token given those before it, ``(B, K, L)``, 0 after the end.
        entropy: of the distribution it is drawn from, in nats, ``(B, K, L)``, 0 after the end.
        table: log-probability of every token of the vocabulary in its place, ``(B, K, L, V)``, minus infinity where
            the grammar forbids it.
        mask: ``(B, K, L)`` bool, True up to the end token and on it.
    """

    log_probs: Tensor
    entropy: Tensor
    table: Tensor
    mask: Tensor

    @property
    def total(self) -> Tensor:
        """Log-probability of each whole sequence, ``(B, K)``."""
        return self.log_probs.sum(-1)


@runtime_checkable
class Grammar(Protocol):
    """Which tokens may follow: a pure function of the tokens so far.

    One that also has ``allowed_along(tokens (N, L)) -> (N, L, V)``, the answers for all places at once, re-scores
    faster; see :mod:`pixward.data.tokens`.
    """

    def allowed(self, tokens: Tensor) -> Tensor:
        """``(N, t)`` int64, ``t`` from 0, to ``(N, V)`` bool with at least one True in each row that has not ended."""
        ...


@runtime_checkable
class TokenPolicy(Protocol):
    """A policy whose decision is a sequence of tokens: usually an ``nn.Module``."""

    def sample(self, images: Tensor, count: int, decoding: Decoding, generator: torch.Generator | None) -> Samples:
        """Draw ``count`` sequences for each image, without gradients; ``generator`` is on the CPU."""
        ...

    def log_prob(self, images: Tensor, tokens: Tensor, decoding: Decoding) -> Scores:
        """Score ``tokens`` ``(B, K, L)`` as :meth:`sample` did, with gradients."""
        ...
