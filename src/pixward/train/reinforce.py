"""REINFORCE for a policy that says tokens: the second of the two steps of task rewards.

Pinto et al., "Tuning computer vision models with task rewards" (ICML 2023, algorithm 2), and what has been learnt
since, as settings of one loop: all samples as each other's baseline (Kool et al. 2019), normalisation within a group
and a divergence from the start (GRPO, Shao et al. 2024), clipped ratios (PPO, Schulman et al. 2017). Sampling is
ancestral and re-scoring exact; layers that draw (dropout) are off, so that scored and sampled log-probabilities agree.

Read from top to bottom: settings, the loop, one set of samples, one loss.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from pixward import objectives
from pixward.run import Run
from pixward.train.pretrain import schedule
from pixward.train.progress import Progress
from pixward.train.task import RewardTask, judge
from pixward.train.workers import Batch, Learner, Workers
from pixward.types import Decoding, Samples, Scores, TokenPolicy


@dataclass(frozen=True)
class ReinforceSettings:
    """How to tune; the defaults are plain REINFORCE with a leave-one-out baseline.

    Attributes:
        steps: sets of samples; each is learnt from ``updates`` times.
        seed: of the samples.
        samples: K, sequences drawn for each picture.
        accumulate: small batches per update, over all processes.
        estimator: ``leave_one_out`` learns from all K, each against the mean of the others; ``one_sample`` is the
            paper's: only the first is learnt from; ``group`` divides by the group's standard deviation as well (GRPO).
        per: ``sequence``: log P(y | x) is a sum over tokens, as in the paper (divided by L, a constant); ``token``:
            every token by itself, a mean over each sequence's own length (GRPO, eq. 3). They differ in what PPO clips
            and in how sequences of different lengths weigh.
        updates: optimiser updates on one set of samples; more than 1 asks for ``clip``.
        clip: how far PPO lets the ratio of new to old probability go from 1 with profit; 0 is plain REINFORCE.
        kl: weight of the divergence from the start, of the tokens that the policy gradient reaches; 0 for none.
        kl_in: ``loss`` has a gradient (GRPO); ``reward`` takes it off the reward without one (RLOO).
        entropy: weight of a bonus for entropy, per token.
        decoding: temperature and nucleus of the samples, re-applied in re-scoring.
        learning_rate: AdamW's peak; rises over ``warmup`` updates and falls along a half cosine to ``floor``.
        warmup: steps.
        floor: share of the peak that is left at the end.
        weight_decay: AdamW's.
        clip_grad: largest L2 norm of a gradient; 0 does not clip.
        average: share of a running mean of the weights that stays at every update, such as 0.99; the mean is what is
            evaluated and kept (Polyak and Juditsky 1992). 0 keeps the last weights.
        log_every: steps between log lines.
        checkpoint_every: steps between checkpoints, each with a log line.
    """

    steps: int = 1_000
    seed: int = 0
    samples: int = 4
    accumulate: int = 1
    estimator: Literal["leave_one_out", "one_sample", "group"] = "leave_one_out"
    per: Literal["sequence", "token"] = "sequence"
    updates: int = 1
    clip: float = 0.0
    kl: float = 0.0
    kl_in: Literal["loss", "reward"] = "loss"
    entropy: float = 0.0
    decoding: Decoding = field(default_factory=Decoding)
    learning_rate: float = 1e-4
    warmup: int = 20
    floor: float = 0.1
    weight_decay: float = 0.0
    clip_grad: float = 1.0
    average: float = 0.0
    log_every: int = 10
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        """Raises ValueError for settings that cannot be."""
        if self.samples < 2:
            raise ValueError(
                f"every estimator compares samples of one picture: set samples to 2 or more, not {self.samples}"
            )
        if self.updates > 1 and not self.clip:
            raise ValueError("several updates on one set of samples need clip: the samples are no longer the policy's")
        if self.decoding.temperature == 0:
            raise ValueError("the most probable sequence teaches nothing: set the temperature of decoding above 0")


FREE = frozenset({"log_every", "checkpoint_every"})
"""Settings that may differ when a run is resumed: they change nothing that is learnt."""

# --- the loop -----------------------------------------------------------------------------------------------------


def reinforce(
    policy: nn.Module,
    task: RewardTask,
    settings: ReinforceSettings,
    run: Run | None,
    workers: Workers,
    start: TokenPolicy | None = None,
    evaluate: Callable[[int], Mapping[str, float]] | None = None,
) -> Iterator[dict[str, float]]:
    """Tune ``policy`` in place; yields a line of figures after each checkpoint, where one may stop without loss.

    Args:
        policy: a :class:`pixward.types.TokenPolicy`. To resume, hand it over as it was at the start: the divergence
            is measured from there.
        task, settings: see :class:`RewardTask` and :class:`ReinforceSettings`.
        run: where log and checkpoints go, and come from; None in all processes but the first.
        workers: the processes.
        start: what the divergence is measured from (logged even at weight 0); None: a copy if ``settings.kl`` > 0.
        evaluate: figures to log before each checkpoint, from the number of steps; asked in the first process only.

    Raises:
        PixwardError: the checkpoint does not fit, a reward is not finite or of a wrong shape, or training diverged.
    """
    if start is None and settings.kl > 0:
        start = copy.deepcopy(policy).requires_grad_(False).eval().to(workers.device)  # type: ignore[assignment]
    learner = Learner(policy, workers, settings.weight_decay, settings.clip_grad, settings.average)
    progress = Progress(learner, run, "reinforce", settings, FREE, evaluate)
    for step in progress.steps():
        policy.eval()
        numbers = [step * settings.accumulate + place for place in workers.mine(settings.accumulate)]
        sets = [_draw(learner, task, settings, start, number) for number in numbers]
        rate = settings.learning_rate * schedule(step, settings.steps, settings.warmup, settings.floor)
        figures = [figures for _, figures in sets]
        figures += _update(learner, task, settings, [drawn for drawn, _ in sets], rate)
        for part in figures:
            progress.add({name: value / len(sets) for name, value in part.items()})
        yield from progress.done("lower the learning rate or set kl")


def _update(
    learner: Learner, task: RewardTask, settings: ReinforceSettings, sets: list[_Drawn], rate: float
) -> list[dict[str, float]]:
    """Learn from ``sets`` as often as the settings say; figures that add up to those of each set."""
    figures: list[dict[str, float]] = []
    for _ in range(settings.updates):
        for place, drawn in enumerate(sets):
            with learner.accumulating(place == len(sets) - 1):
                loss, parts = _loss(learner, task, settings, drawn)
                learner.backward(loss / len(sets))
            figures.append({name: value / settings.updates for name, value in parts.items()})
        figures.append({"grad_norm": learner.step(rate) * len(sets) / settings.updates})
    return figures


# --- one set of samples -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Drawn:
    """Samples of one small batch and what they are worth; of the estimator's ``J`` columns out of ``K``.

    ``advantages`` are ``(B, J)``, or ``(B, J, L)`` where every token has a return of its own.
    """

    batch: Batch
    samples: Samples
    advantages: Tensor
    reference: Tensor | None


@torch.no_grad()
def _draw(
    learner: Learner, task: RewardTask, settings: ReinforceSettings, start: TokenPolicy | None, number: int
) -> tuple[_Drawn, dict[str, float]]:
    """Small batch ``number``: sample, reward, compare."""
    workers = learner.workers
    with workers.seeded(settings.seed, number) as generator, workers.accelerator.autocast():
        batch = workers.place(task.batches(number))
        samples: Samples = learner.policy.sample(  # type: ignore[operator]
            batch["images"], settings.samples, settings.decoding, generator
        )
        reference = None
        if start is not None:
            reference = start.log_prob(batch["images"], samples.tokens, settings.decoding).log_probs
    rewards, figures = judge(task, samples.tokens, batch)
    spread = rewards.std(1, unbiased=False)
    figures |= {
        "reward_std": float(spread.mean()),
        "reward_flat": float((spread <= 1e-6 * rewards.abs().amax(1)).float().mean()),
        "length": float(samples.mask.sum(2).float().mean()),
        "repeated": float(_repeated(samples.tokens)),
    }
    figures |= {name: float(watch(samples, batch).float().mean()) for name, watch in task.monitors.items()}
    if reference is not None and settings.kl_in == "reward":
        rewards = rewards - settings.kl * (samples.log_probs - reference).sum(2)
    kept = slice(0, 1) if settings.estimator == "one_sample" else slice(None)
    whole = samples.tokens
    samples = Samples(samples.tokens[:, kept], samples.log_probs[:, kept], samples.mask[:, kept])
    reference = reference[:, kept] if reference is not None else None
    advantages = _advantages(rewards, settings)
    if task.returns is not None:
        if settings.kl and settings.kl_in == "reward":
            raise ValueError(
                "a task that judges every token by itself has no whole reward to take kl off: use kl_in loss"
            )
        # Place by place against the same place of the others, whose tokens this one has no part in either.
        returns = task.returns(whole, batch).transpose(1, 2)
        flat = _advantages(returns.flatten(0, 1), settings)
        advantages = flat.view(*returns.shape[:2], -1).transpose(1, 2)
    return _Drawn(batch, samples, advantages, reference), figures


def _advantages(rewards: Tensor, settings: ReinforceSettings) -> Tensor:
    if settings.estimator == "one_sample":
        return objectives.one_sample(rewards)
    if settings.estimator == "leave_one_out":
        return objectives.leave_one_out(rewards)
    groups = torch.arange(len(rewards), device=rewards.device).repeat_interleave(rewards.shape[1])
    return objectives.group_normalize(rewards.flatten(), groups).view_as(rewards)


def _repeated(tokens: Tensor) -> Tensor:
    """Share of the samples that equal an earlier one of the same picture: 0 while the policy explores."""
    same = (tokens[:, :, None] == tokens[:, None]).all(3).tril(-1)
    return same.any(2).float().mean()


# --- one loss -----------------------------------------------------------------------------------------------------


def _loss(
    learner: Learner, task: RewardTask, settings: ReinforceSettings, drawn: _Drawn
) -> tuple[Tensor, dict[str, float]]:
    samples, advantages = drawn.samples, drawn.advantages
    scores: Scores = learner.score(drawn.batch["images"], samples.tokens, settings.decoding)
    reached = samples.mask if task.learnt is None else samples.mask & task.learnt(samples.tokens)
    counts = reached.sum(2, keepdim=True).clamp_min(1) if settings.per == "token" else reached.shape[2]
    weights = reached / counts
    new, old = scores.log_probs * reached, samples.log_probs * reached
    if advantages.ndim == 3:
        share = weights
    elif settings.per == "sequence":
        # The mean over tokens of the paper's code, for sequences that all have L of them.
        new, old, share = new.sum(2), old.sum(2), torch.full_like(advantages, 1 / reached.shape[2])
    else:
        share, advantages = weights, advantages[..., None].expand_as(new)
    gain = objectives.ppo_surrogate(new, old, advantages, settings.clip) if settings.clip > 0 else advantages * new
    loss = -(gain * share).sum() / samples.tokens[..., 0].numel()
    entropy = (scores.entropy * samples.mask).sum() / samples.mask.sum()
    figures = {"policy_loss": loss, "entropy": entropy}
    if settings.clip > 0:
        beyond = ((new - old).exp() - 1).abs() > settings.clip
        figures["clipped"] = (beyond * (share > 0)).sum() / (share > 0).sum().clamp_min(1)
    if drawn.reference is not None:
        apart = objectives.kl_estimate(scores.log_probs, drawn.reference) * reached
        figures["kl"] = apart.sum(2).mean()
        if settings.kl_in == "loss":
            loss = loss + settings.kl * (apart * weights).sum(2).mean()
    if settings.entropy:
        loss = loss - settings.entropy * entropy
    if task.auxiliary is not None:
        figures["auxiliary"] = task.auxiliary(drawn.batch, samples, scores)
        loss = loss + figures["auxiliary"]
    figures["loss"] = loss
    return loss, {name: float(value.detach()) for name, value in figures.items()}
