"""Maximum likelihood, for a policy that says tokens: the first of the two steps of task rewards.

Ascends the mean of log P(y | x) over pictures x and their true sequences y (Pinto et al., ICML 2023, algorithm 1). A
weight for each token lets a sequence hold made-up parts: boxes of noise, say, of which only the confidence is learnt.
Other models learn in the same loop, by a loss of their own (:mod:`pixward.denoise.fitting`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pixward.run import Run
from pixward.train.pretrain import schedule
from pixward.train.progress import Progress
from pixward.train.workers import Batch, Learner, Workers
from pixward.types import Decoding, Scores


@dataclass(frozen=True)
class LikelihoodSettings:
    """How to train; see :func:`likelihood`.

    Attributes:
        steps: updates.
        seed: of what the policy draws (dropout).
        accumulate: small batches per update, over all processes.
        learning_rate: AdamW's peak; rises over ``warmup`` updates and falls along a half cosine to ``floor``.
        warmup: updates.
        floor: share of the peak that is left at the end.
        weight_decay: AdamW's.
        clip_grad: largest L2 norm of a gradient; 0 does not clip.
        average: share of a running mean of the weights that stays at every update, such as 0.99; the mean is what is
            evaluated and kept (Polyak and Juditsky 1992). 0 keeps the last weights.
        log_every: updates between log lines.
        checkpoint_every: updates between checkpoints, each with a log line.
    """

    steps: int = 8_000
    seed: int = 0
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup: int = 200
    floor: float = 0.02
    weight_decay: float = 1e-4
    clip_grad: float = 1.0
    average: float = 0.0
    log_every: int = 100
    checkpoint_every: int = 500


FREE = frozenset({"log_every", "checkpoint_every"})
"""Settings that may differ when a run is resumed: they change nothing that is learnt."""

Loss = Callable[[Learner, Mapping[str, Any]], tuple[Tensor, dict[str, float]]]
"""What one small batch is to be learnt by, from ``learner.score`` of it: a scalar to descend, and figures to log, of
which ``loss`` must be one."""


def likelihood(
    policy: nn.Module,
    batches: Callable[[int], Batch],
    settings: LikelihoodSettings,
    run: Run | None,
    workers: Workers,
    evaluate: Callable[[int], Mapping[str, float]] | None = None,
    loss_of: Loss | None = None,
) -> Iterator[dict[str, float]]:
    """Train ``policy`` in place; yields a line of figures after each checkpoint, where one may stop without loss.

    Args:
        policy: a :class:`pixward.types.TokenPolicy`.
        batches: ``batches(i)`` is small batch ``i``, a function of ``i`` alone: ``images`` ``(B, C, H, W)``, ``tokens``
            ``(B, L)`` or, with several sequences for a picture, ``(B, J, L)``, and perhaps ``weights`` of the tokens,
            of the same shape.
        settings: see :class:`LikelihoodSettings`.
        run: where log and checkpoints go, and come from; None in all processes but the first.
        workers: the processes.
        evaluate: figures to log before each checkpoint, from the number of updates; asked in the first process only.
        loss_of: see :data:`Loss`; None is minus the likelihood of the batch's tokens.

    Raises:
        PixwardError: the checkpoint does not fit, the tokens break the policy's grammar, or training diverged.
    """
    learner = Learner(policy, workers, settings.weight_decay, settings.clip_grad, settings.average)
    progress = Progress(learner, run, "likelihood", settings, FREE, evaluate)
    mine = workers.mine(settings.accumulate)
    for step in progress.steps():
        policy.train()
        for place in mine:
            number = step * settings.accumulate + place
            last = place == mine[-1]
            with workers.seeded(settings.seed, number), learner.accumulating(last):
                batch = workers.place(batches(number))
                loss, figures = (loss_of or _loss)(learner, batch)
                learner.backward(loss / len(mine))
            progress.add({name: value / len(mine) for name, value in figures.items()})
        rate = settings.learning_rate * schedule(step, settings.steps, settings.warmup, settings.floor)
        progress.add({"grad_norm": learner.step(rate)})
        yield from progress.done("lower the learning rate or set clip_grad")


def _loss(learner: Learner, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, float]]:
    """Minus the weighted log-likelihood, a mean over sequences and their ``L`` places, and figures to log."""
    tokens = batch["tokens"]
    shape = (len(tokens), -1, tokens.shape[-1])
    tokens = tokens.view(shape)
    scores: Scores = learner.score(batch["images"], tokens, Decoding())
    weights = batch["weights"].view(shape) if "weights" in batch else torch.ones_like(scores.log_probs)
    loss = -(weights * scores.log_probs).mean()
    counted = scores.mask & (weights > 0)
    share = counted.float().mean().clamp_min(1e-9)
    right = ((scores.table.detach().argmax(-1) == tokens) & counted).float().mean() / share
    nll = -(scores.log_probs.detach() * counted).mean() / share
    return loss, {"loss": float(loss.detach()), "nll": float(nll), "accuracy": float(right)}
