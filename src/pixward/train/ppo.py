"""Policy gradients for a policy that makes pictures step by step: DDPO's and RLCM's, as settings of one loop.

DDPO is Black et al., "Training diffusion models with reinforcement learning" (ICLR 2024); RLCM is Oertell et al., "RL
for consistency models" (RLC 2024). Both clip PPO's ratio (Schulman et al. 2017) and compare a picture with others of
its prompt; there is no critic, since the reward of all decisions is that of the one picture. RLCM makes one update of a
set of samples, in which the ratio is 1 and the clip idle: it is REINFORCE with normalised rewards, and ``clip=0`` says
so. Comparing within a group that was drawn together is GRPO's (Shao et al. 2024).

Settings are in :mod:`pixward.train.ppo_settings`. Read from top to bottom: the loop, one set of samples, one update.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pixward import objectives
from pixward.errors import PixwardError
from pixward.ops.denoise import gaussian_kl
from pixward.rollout import Minibatch, minibatches, rollout
from pixward.run import Run
from pixward.train.pictures import (
    TOTALS,
    WATCHED,
    Drawing,
    PictureTask,
    PromptStatistics,
    calls,
    episodes,
    judge,
)
from pixward.train.ppo_settings import DDPO, FREE, RLCM, PPOSettings
from pixward.train.progress import Progress, add
from pixward.train.workers import Learner, Workers, mixed
from pixward.types import Action, Rollout, State

__all__ = ["DDPO", "RLCM", "Drawing", "GaussianPolicy", "PPOSettings", "ppo"]


class GaussianPolicy(Protocol):
    """A policy whose decisions are Gaussian, such as :class:`pixward.policies.denoiser.DenoiserPolicy`."""

    calls: int

    def sample(self, state: State) -> Action:
        """Draw one action for each item of the batch."""
        ...

    def log_prob(self, states: State, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability ``(B,)`` in nats, mean ``(B, ...)`` and std ``(B, 1, 1, 1)`` of actions taken earlier."""
        ...


# --- the loop -----------------------------------------------------------------------------------------------------


def ppo(
    env: Drawing,
    policy: nn.Module,
    task: PictureTask,
    settings: PPOSettings,
    run: Run | None,
    workers: Workers,
    start: GaussianPolicy | None = None,
    evaluate: Callable[[int], Mapping[str, float]] | None = None,
) -> Iterator[dict[str, float]]:
    """Tune ``policy`` in place; yields a line of figures after each checkpoint, where one may stop without loss.

    A line holds means over its steps, and how many pictures were judged ("queries") and how many the network looked at
    ("network_calls") since the start.

    Args:
        env: the process.
        policy: a :class:`GaussianPolicy`. To resume, hand it over as it was at the start.
        task, settings: see :class:`pixward.train.pictures.PictureTask` and :class:`PPOSettings`.
        run: where log and checkpoints go, and come from; None in all processes but the first.
        workers: the processes.
        start: what the divergence is measured from (logged even at weight 0); None: a copy if ``settings.kl`` > 0.
        evaluate: figures to log before each checkpoint, from the number of steps; asked in the first process only.

    Raises:
        PixwardError: the checkpoint does not fit, the reward fails or is no number for each picture, the sampler draws
            nothing to learn from, or training diverged.
    """
    if not env.learnt:
        raise PixwardError("no step of this sampler draws noise that is learnt from: set eta above 0, or last to head")
    if start is None and settings.kl > 0:
        start = copy.deepcopy(policy).requires_grad_(False).eval().to(workers.device)  # type: ignore[assignment]
    learner = Learner(policy, workers, settings.weight_decay, settings.clip_grad, settings.average)
    progress = Progress(learner, run, "ppo", settings, FREE, evaluate, TOTALS)
    for step in progress.steps():
        policy.eval()
        looked = calls(policy, start)
        drawn, figures = _draw(env, learner, task, settings, step)
        rate = settings.learning_rate * (1 - (1 - settings.floor) * step / settings.steps)
        progress.add(figures | _learn(learner, settings, drawn, start, rate))
        queries = settings.batch * settings.accumulate // workers.count
        progress.add({"queries": queries, "network_calls": calls(policy, start) - looked})
        yield from progress.done("lower the learning rate or set kl", WATCHED)


# --- one set of samples -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Drawn:
    """One small batch: the decisions to learn from, ``(T, B)``, and what each picture is worth, ``(B,)``."""

    number: int
    played: Rollout
    prompts: list[str]
    advantages: Tensor


def _draw(
    env: Drawing, learner: Learner, task: PictureTask, settings: PPOSettings, step: int
) -> tuple[list[list[_Drawn]], dict[str, float]]:
    """This process's small batches of set ``step``, part by part, judged and compared with everybody's."""
    workers, share = learner.workers, settings.accumulate // settings.parts
    drawn: list[list[_Drawn]] = []
    scores: list[Future[tuple[list[float], dict[str, float]]]] = []
    pool = ThreadPoolExecutor(max(1, settings.threads), initializer=_begin_on, initargs=(workers.device,))
    try:
        for part in range(settings.parts):
            drawn.append([])
            for place in workers.mine(share):
                number = step * settings.accumulate + part * share + place
                one, images, metadata = _play(env, learner, task, settings, number)
                drawn[-1].append(one)
                scores.append(pool.submit(judge, task.reward, images, one.prompts, metadata))
                if not settings.threads:
                    scores[-1].result()
        judged = [score.result() for score in scores]
    finally:
        pool.shutdown(cancel_futures=True)
    mine = [one for part in drawn for one in part]
    said = [(one.number, one.prompts, values) for one, (values, _) in zip(mine, judged, strict=True)]
    everyone = sorted((entry for process in workers.gather(said) for entry in process), key=lambda entry: entry[0])
    advantages, figures = _compare(learner, settings, everyone)
    drawn = [
        [replace(one, advantages=advantages[one.number].to(one.played.log_probs)) for one in part] for part in drawn
    ]
    for name in judged[0][1]:
        figures[name] = sum(info.get(name, math.nan) for _, info in judged) / len(judged)
    return drawn, figures


def _begin_on(device: torch.device) -> None:
    """Let a reward that says "cuda" mean this process's GPU: every thread begins on the first one."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


@torch.no_grad()
def _play(
    env: Drawing, learner: Learner, task: PictureTask, settings: PPOSettings, number: int
) -> tuple[_Drawn, Tensor, Sequence[Any]]:
    """Small batch ``number``: its decisions, its pictures, and what the task says of them."""
    workers = learner.workers
    with workers.seeded(settings.seed, number) as generator, workers.accelerator.autocast():
        state, prompts, metadata = episodes(env, task, workers, number, settings.batch, settings.samples, generator)
        played = rollout(env, learner.policy, state)  # type: ignore[arg-type]
        images = env.image(played.last)
    learnt = list(env.learnt)
    played = Rollout(
        # What was seen at a decision is no part of what it is scored by.
        [{name: value for name, value in played.states[at].items() if name != "denoised"} for at in learnt],
        played.actions[learnt],
        played.log_probs[learnt],
        played.baselines[learnt],
        played.rewards[learnt],
        {},
    )
    return _Drawn(number, played, prompts, torch.empty(0)), images, metadata


def _compare(
    learner: Learner, settings: PPOSettings, everyone: Sequence[tuple[int, list[str], list[float]]]
) -> tuple[dict[int, Tensor], dict[str, float]]:
    """Advantages of a whole set, by small batch; the same in every process, which sees the same."""
    prompts = [prompt for _, named, _ in everyone for prompt in named]
    rewards = [reward for _, _, values in everyone for reward in values]
    values = torch.tensor(rewards, dtype=torch.float64)
    if settings.advantage == "prompt":
        seen = learner.beside.setdefault("seen", {})
        found = torch.tensor(PromptStatistics(settings.buffer, settings.least, seen).advantages(prompts, rewards))
    else:
        names = {prompt: index for index, prompt in enumerate(dict.fromkeys(prompts))}
        labels = [names[prompt] if settings.advantage == "group" else 0 for prompt in prompts]
        found = objectives.group_normalize(values, torch.tensor(labels))
    parts = found.clamp(-settings.limit, settings.limit).split(settings.batch)
    figures = {"reward": float(values.mean()), "reward_std": float(values.std(unbiased=False))}
    return {number: part for (number, _, _), part in zip(everyone, parts, strict=True)}, figures


# --- one update ---------------------------------------------------------------------------------------------------


def _learn(
    learner: Learner, settings: PPOSettings, drawn: list[list[_Drawn]], start: GaussianPolicy | None, rate: float
) -> dict[str, float]:
    """All updates from one set; the means of their figures."""
    sums: dict[str, float] = {}
    for turn in range(settings.passes):
        for part in drawn:
            counts = [_chunks(settings, one) for one in part]
            whole = sum(decisions for _, decisions in counts)
            for at, (one, (chunks, _)) in enumerate(zip(part, counts, strict=True)):
                order = torch.Generator().manual_seed(mixed(settings.seed + 1 + turn, one.number))
                weights = one.advantages.expand_as(one.played.log_probs).flatten()
                pieces = islice(minibatches(one.played, settings.minibatch, order), chunks)
                for place, piece in enumerate(pieces, 1):
                    with learner.accumulating(at == len(part) - 1 and place == chunks):
                        loss, figures = _loss(learner, settings, piece, weights[piece.index], start)
                        learner.backward(loss / whole)
                    add(sums, figures, 1 / whole)
            add(sums, {"grad_norm": learner.step(rate)}, 1.0)
    return {name: value / (settings.passes * len(drawn)) for name, value in sums.items()}


def _chunks(settings: PPOSettings, one: _Drawn) -> tuple[int, int]:
    """How many minibatches of a small batch are learnt from, and how many decisions these hold."""
    held = one.played.log_probs.numel()
    chunks = max(1, round(settings.fraction * math.ceil(held / settings.minibatch)))
    return chunks, min(held, chunks * settings.minibatch)


def _loss(
    learner: Learner, settings: PPOSettings, piece: Minibatch, advantages: Tensor, start: GaussianPolicy | None
) -> tuple[Tensor, dict[str, float]]:
    """The sum over decisions, which the caller divides by their number, and sums for the log."""
    new, mean, std = learner.score(piece.states, piece.actions)
    size = piece.actions[0].numel()
    unit = size if settings.per == "pixel" else 1
    gap = new - piece.log_probs
    if settings.clip > 0:
        # 1 +- c of both papers is exp(+-c) to 5e-9 at their c, and the latter means something for sums as well.
        bound = settings.clip * (settings.clip_size or size)
        ratio, edge = (gap / unit).exp(), gap.clamp(-bound, bound) / unit
        gain = torch.minimum(ratio * advantages, edge.exp() * advantages)
    else:
        gain = advantages * new / unit
    loss = -gain.sum()
    figures = {"policy_loss": loss.detach()}
    if settings.clip > 0:
        figures |= {"clipped": (gap.abs() > bound).sum(), "moved": gap.detach().abs().sum()}
    if start is not None:
        with torch.no_grad(), learner.workers.accelerator.autocast():
            before = start.log_prob(piece.states, piece.actions)[1]
        apart = gaussian_kl(mean, before, std)
        figures["kl"] = apart.detach().sum()
        loss = loss + settings.kl * apart.sum() / unit
    figures["loss"] = loss.detach()
    return loss, {name: float(value) for name, value in figures.items()}
