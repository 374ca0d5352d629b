"""What a token policy is to learn: batches, rewards and what to watch; and the rewards' check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pixward.errors import PixwardError
from pixward.train.workers import Batch
from pixward.types import Samples, Scores

TokenReward = Callable[[Tensor, Batch], Any]
"""``(tokens (B, K, L), batch) -> (B, K)``, a tensor or nested lists; higher is better."""


@dataclass(frozen=True)
class RewardTask:
    """What is to be learnt.

    Attributes:
        batches: ``batches(i)`` is small batch ``i``, a function of ``i`` alone: ``images`` ``(B, C, H, W)``, targets.
        rewards: plain callables; their names go into the log.
        weights: of the rewards; none for 1 each.
        monitors: figures to watch that nobody trains on, ``(samples, batch) -> (B, K)`` or any other shape, of which
            the mean is logged: duplicate or false boxes, a metric that is not in the reward.
        learnt: which tokens the policy gradient reaches, ``tokens -> (B, K, L)`` bool; None for all of them.
        auxiliary: a loss to add, ``(batch, samples, scores) -> scalar``, such as a confidence's cross-entropy.
        returns: what each token is judged by in place of the whole sum of rewards, ``(tokens, batch) -> (B, K, L)``:
            for a reward that comes piece by piece, the pieces from that token on. Less of what a token has no part in
            is noise in its gradient. None judges every token by the whole.
    """

    batches: Callable[[int], Batch]
    rewards: Sequence[TokenReward]
    weights: Sequence[float] = ()
    monitors: Mapping[str, Callable[[Samples, Batch], Tensor]] = field(default_factory=dict)
    learnt: Callable[[Tensor], Tensor] | None = None
    auxiliary: Callable[[Batch, Samples, Scores], Tensor] | None = None
    returns: Callable[[Tensor, Batch], Tensor] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for weights that do not match the rewards."""
        if not self.rewards or (self.weights and len(self.weights) != len(self.rewards)):
            raise ValueError(
                f"need one weight for each reward: {len(self.rewards)} rewards, {len(self.weights)} weights"
            )


def judge(task: RewardTask, tokens: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """The weighted sum of the task's rewards, ``(B, K)``, and the mean of each, for the log.

    Raises:
        PixwardError: a reward is not finite or has a wrong shape, with its name and the item.
    """
    total = torch.zeros(tokens.shape[:2], device=tokens.device)
    figures: dict[str, float] = {}
    for reward, weight in zip(task.rewards, task.weights or [1.0] * len(task.rewards), strict=True):
        name = getattr(reward, "__name__", type(reward).__name__)
        values = _checked(name, reward(tokens, batch), tokens, batch)
        figures[f"reward/{name}"] = float(values.mean())
        total = total + weight * values
    return total, {"reward": float(total.mean()), **figures}


def _checked(name: str, given: Any, tokens: Tensor, batch: Batch) -> Tensor:
    shape = tuple(tokens.shape[:2])
    try:
        values = torch.as_tensor(given, dtype=torch.float32, device=tokens.device)
    except (TypeError, ValueError):
        raise PixwardError(
            f"the reward {name} must return numbers {shape}, one for each sample, got {type(given).__name__}"
        ) from None
    if tuple(values.shape) != shape:
        raise PixwardError(
            f"the reward {name} must return {shape}, one for each sample of each picture, got {tuple(values.shape)}"
        )
    wrong = (~values.isfinite()).nonzero()
    if len(wrong):
        item, sample = (int(at) for at in wrong[0])
        called = f" ({batch['name'][item]})" if "name" in batch else ""
        raise PixwardError(
            f"the reward {name} is {float(values[item, sample])} for item {item}{called}, sample {sample}: "
            f"tokens {tokens[item, sample].tolist()}"
        )
    return values.detach()
