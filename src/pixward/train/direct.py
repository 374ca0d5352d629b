"""The gradient of a reward that has one, straight through the way from noise to picture.

AlignProp is Prabhudesai et al., "Aligning text-to-image diffusion models with reward backpropagation" (2023); DRaFT is
Clark et al., "Directly fine-tuning diffusion models on differentiable rewards" (ICLR 2024). Where a policy gradient
(:mod:`pixward.train.ppo`) learns from what was drawn and how it was scored, this one asks the reward which way each
pixel should go, and each step which way its latents should. It is exact but for the steps that are left out, so it
needs far fewer pictures; and it finds what a reward overlooks as much sooner.

Both leave out early steps: the gradient goes back through the last K decisions (DRaFT-K), or K is drawn anew for each
small batch (AlignProp's randomised truncation, where the prediction of earlier steps is held). What came before is
drawn without a gradient. The noise that a step draws is a constant here. With K = 1 and a consistency model this is the
gradient through its last call, which :mod:`pixward.train.ppo` cannot see, since nothing is drawn after it.

Memory: the activations of one step of one small batch, since each step is computed again in the backward pass
(:mod:`torch.utils.checkpoint`), and the latents of all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pixward.errors import PixwardError
from pixward.judging import ask, name_of
from pixward.ops.denoise import Step, gaussian_kl
from pixward.run import Run
from pixward.train.pictures import TOTALS, WATCHED, Drawing, PictureTask, calls, episodes, numbers
from pixward.train.progress import Progress, add
from pixward.train.workers import Learner, Workers
from pixward.types import State


class Picturing(Drawing, Protocol):
    """An environment whose pictures carry gradients, such as :class:`pixward.envs.denoise.DenoiseEnv`."""

    def picture(self, state: State) -> Tensor:
        """The picture, ``(B, 3, H, W)`` in [0, 1], with the gradients of the state."""
        ...


class StepPolicy(Protocol):
    """A policy that says how it draws, such as :class:`pixward.policies.denoiser.DenoiserPolicy`."""

    calls: int

    def step(self, state: State) -> Step:
        """The distribution of the next latents, with gradients."""
        ...


@dataclass(frozen=True)
class DirectSettings:
    """How to tune; :data:`ALIGNPROP` and :data:`DRAFT1` are starts.

    Attributes:
        steps: updates.
        seed: of the pictures.
        batch: pictures drawn at once, a small batch.
        accumulate: small batches in an update, over all processes.
        depth: K, how many of the last decisions the gradient goes through; 0 for all.
        random: K is drawn for each small batch, evenly from 1 to ``depth``.
        recompute: compute each step again in the backward pass, in place of keeping its activations: a third more
            time, and memory that does not grow with ``depth``.
        kl: weight of the divergence from the start, the sum over the decisions that the gradient goes through, in nats
            a picture; 0 for none.
        learning_rate: AdamW's at the start; falls evenly to ``floor``.
        floor: share of it that is left at the end.
        weight_decay: AdamW's.
        clip_grad: largest L2 norm of a gradient; 0 does not clip.
        average: share of a running mean of the weights that stays at every update; the mean is what is evaluated and
            kept. 0 keeps the last weights.
        log_every: updates between log lines.
        checkpoint_every: updates between checkpoints, each with a log line.
    """

    steps: int = 100
    seed: int = 0
    batch: int = 8
    accumulate: int = 4
    depth: int = 1
    random: bool = False
    recompute: bool = True
    kl: float = 0.0
    learning_rate: float = 1e-4
    floor: float = 1.0
    weight_decay: float = 0.0
    clip_grad: float = 1.0
    average: float = 0.0
    log_every: int = 1
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        """Raises ValueError for settings that cannot be."""
        if self.depth < 0:
            raise ValueError(f"depth must be 0, for all decisions, or above, got {self.depth}")


ALIGNPROP = DirectSettings(
    batch=8, accumulate=16, depth=0, random=True, learning_rate=1e-3, weight_decay=1e-4, clip_grad=1.0
)
"""AlignProp's as TRL's AlignPropTrainer had it, 128 pictures an update for LoRA; there K may also be 0."""

DRAFT1 = DirectSettings(depth=1)
"""DRaFT-1: the last step alone, the cheapest and in its paper the best for one budget; the other values are ours."""

FREE = frozenset({"log_every", "checkpoint_every", "recompute"})
"""Settings that may differ when a run is resumed: they change nothing that is learnt."""


# --- the loop -----------------------------------------------------------------------------------------------------


def direct(
    env: Picturing,
    policy: nn.Module,
    task: PictureTask,
    settings: DirectSettings,
    run: Run | None,
    workers: Workers,
    start: StepPolicy | None = None,
    evaluate: Callable[[int], Mapping[str, float]] | None = None,
) -> Iterator[dict[str, float]]:
    """Tune ``policy`` in place; yields a line of figures after each checkpoint, where one may stop without loss.

    A line holds means over its steps, and how many pictures were judged ("queries") and how many the network looked at
    ("network_calls", those of the backward pass among them) since the start.

    Args:
        env: the process. Its decoder must have a gradient.
        policy: a :class:`StepPolicy`. To resume, hand it over as it was at the start.
        task: what is to be learnt; its reward is handed pictures with a gradient and must pass it on.
        settings: see :class:`DirectSettings`.
        run: where log and checkpoints go, and come from; None in all processes but the first.
        workers: the processes.
        start: what the divergence is measured from (logged even at weight 0); None: a copy if ``settings.kl`` > 0.
        evaluate: figures to log before each checkpoint, from the number of steps; asked in the first process only.

    Raises:
        PixwardError: the checkpoint does not fit, the reward fails, is no number for each picture or has no gradient,
            there are fewer decisions than ``depth``, or training diverged.
    """
    if settings.depth > env.horizon:
        raise PixwardError(f"the gradient cannot go through {settings.depth} of {env.horizon} decisions: lower depth")
    if start is None and settings.kl > 0:
        start = copy.deepcopy(policy).requires_grad_(False).eval().to(workers.device)  # type: ignore[assignment]
    chain = _Chain(env, policy, start, settings)  # type: ignore[arg-type]
    learner = Learner(policy, workers, settings.weight_decay, settings.clip_grad, settings.average, chain.draw)
    progress = Progress(learner, run, "direct", settings, FREE, evaluate, TOTALS)
    for step in progress.steps():
        policy.eval()
        looked = calls(policy, start)
        rate = settings.learning_rate * (1 - (1 - settings.floor) * step / settings.steps)
        progress.add(_update(chain, learner, task, step, rate))
        queries = settings.batch * settings.accumulate // workers.count
        progress.add({"queries": queries, "network_calls": calls(policy, start) - looked})
        yield from progress.done("lower the learning rate or set kl", WATCHED)


def _update(chain: _Chain, learner: Learner, task: PictureTask, step: int, rate: float) -> dict[str, float]:
    """Draw, judge and learn from update ``step``'s small batches; the means of their figures."""
    settings, workers = chain.settings, learner.workers
    places = workers.mine(settings.accumulate)
    sums: dict[str, float] = {}
    said: list[tuple[int, list[float]]] = []
    for place in places:
        number = step * settings.accumulate + place
        with workers.seeded(settings.seed, number) as generator, learner.accumulating(place == places[-1]):
            state, prompts, metadata = episodes(chain.env, task, workers, number, settings.batch, 1, generator)
            depth = settings.depth or chain.env.horizon
            if settings.random:
                depth = int(torch.randint(1, depth + 1, (), generator=generator))
            images, apart = learner.score(state, depth)
            scores, info = _judged(task, images, prompts, metadata)
            loss = settings.kl * apart.mean() - scores.float().mean()
            learner.backward(loss / len(places))
        said.append((number, scores.detach().tolist()))
        seen = {"loss": float(loss.detach()), "depth": float(depth), **numbers(info)}
        if chain.start is not None:
            seen["kl"] = float(apart.detach().mean())
        add(sums, seen, 1 / len(places))
    everyone = sorted(entry for process in workers.gather(said) for entry in process)
    rewards = torch.tensor([value for _, values in everyone for value in values], dtype=torch.float64)
    sums |= {"reward": float(rewards.mean()), "reward_std": float(rewards.std(unbiased=False))}
    return sums | {"grad_norm": learner.step(rate)}


def _judged(task: PictureTask, images: Tensor, prompts: Sequence[str], metadata: Sequence[Any]) -> tuple[Tensor, Any]:
    """The scores of ``images``, which carry the gradient on, and the reward's info."""
    if not images.requires_grad:
        raise PixwardError("the environment's pictures have no gradient: its decoder must not be under torch.no_grad")
    without = (
        f"the reward {name_of(task.reward)} has no gradient with respect to the pictures: "
        "use ppo, which needs none, or a reward made of differentiable steps"
    )
    try:
        scores, info = ask(task.reward, images, prompts, metadata)
    except PixwardError as error:
        # What torch says to those who want pixels as numbers.
        if "requires grad" in str(error):
            raise PixwardError(without) from error
        raise
    if not scores.requires_grad:
        raise PixwardError(without)
    return scores, info


# --- one way from noise to a picture --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Chain:
    """The whole way as one function, so that whoever shares gradients sees one pass forward and one back."""

    env: Picturing
    policy: StepPolicy
    start: StepPolicy | None
    settings: DirectSettings

    def draw(self, batch: State, depth: int) -> tuple[Tensor, Tensor]:
        """Pictures ``(B, 3, H, W)`` with the gradient of their last ``depth`` decisions, and the divergence ``(B,)``.

        Random numbers are those that the policy's ``sample`` would have drawn.
        """
        state = self.env.reset(batch)
        total = torch.zeros(len(state["latents"]), device=state["latents"].device)
        for at in range(self.env.horizon):
            with torch.set_grad_enabled(at >= self.env.horizon - depth):
                step, apart = self._kept(self._decide, state)
                noise = torch.randn(step.mean.shape).to(step.mean)
                state, _ = self.env.step({**state, "denoised": step.denoised}, step.draw(noise))
                total = total + apart
        return self._kept(self.env.picture, state), total

    def _decide(self, state: State) -> tuple[Step, Tensor]:
        step = self.policy.step(state)
        if self.start is None or not torch.is_grad_enabled():
            return step, torch.zeros(())
        # The start hangs on the latents as well, so the gradient goes through its network too, though not to it.
        with torch.set_grad_enabled(self.settings.kl > 0):
            gap = step.mean - self.start.step(state).mean
            return step, gaussian_kl(gap, torch.zeros_like(gap), step.std)

    def _kept(self, function: Callable[[State], Any], state: State) -> Any:
        """``function(state)``, with its activations kept only where the settings say so."""
        if self.settings.recompute and torch.is_grad_enabled():
            return checkpoint(function, state, use_reentrant=False)
        return function(state)
