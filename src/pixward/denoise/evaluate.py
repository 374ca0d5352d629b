"""What a model draws at fixed seeds, and figures of it: the reward, and what a reward can be had at the cost of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pixward.denoise.painter import Painter
from pixward.ops.denoise import gaussian_kl
from pixward.policies.denoiser import DenoiserPolicy
from pixward.rewards.alignment import ClassAlignment
from pixward.rewards.image import incompressibility
from pixward.rollout import rollout
from pixward.train.pictures import PictureReward, judge
from pixward.train.workers import mixed

BLANK = 0.02
"""Standard deviation over the pixels, of each colour, below which a picture counts as blank, whatever its colour."""


@dataclass(frozen=True)
class Looks:
    """Which pictures are looked at.

    Attributes:
        prompts: of them.
        each: pictures of a prompt; two or more tell how much they differ.
        seed: of the first; the next ones count on.
        batch: drawn at once.
    """

    prompts: tuple[str, ...]
    each: int = 2
    seed: int = 1_000_000
    batch: int = 32

    @property
    def named(self) -> list[str]:
        """The prompt of every picture."""
        return [prompt for prompt in self.prompts for _ in range(self.each)]

    @property
    def seeds(self) -> list[int]:
        """The seed of every picture."""
        return [self.seed + index for index in range(len(self.prompts) * self.each)]


def looked(painter: Painter, looks: Looks) -> Tensor:
    """The pictures, ``(B, 3, H, W)`` in [0, 1]."""
    named, seeds, size = looks.named, looks.seeds, looks.batch
    parts = [painter.draw(named[at : at + size], seeds[at : at + size]) for at in range(0, len(named), size)]
    return torch.cat(parts)


def figures(
    pictures: Tensor, looks: Looks, reward: PictureReward, scorer: ClassAlignment | None = None
) -> dict[str, float]:
    """Means over ``pictures``, those of ``looks``.

    ``reward``; ``diversity``, the root mean square difference between pictures of a prompt; ``kilobytes`` of a JPEG
    beyond a blank one; ``blank``, the share of pictures that show nothing; with a ``scorer``, ``accuracy``, the share
    on which it sees what the prompt says.
    """
    scores, _ = judge(reward, pictures, looks.named, [{} for _ in looks.named])
    found = {
        "reward": sum(scores) / len(scores),
        "diversity": diversity(pictures, looks.each),
        "kilobytes": float(incompressibility(pictures, floor=True).mean()),
        "blank": float((pictures.flatten(2).std(2).amax(1) < BLANK).float().mean()),
    }
    if scorer is not None:
        found["accuracy"] = float(scorer.accuracy(pictures, looks.named).mean())
    return found


def diversity(pictures: Tensor, each: int) -> float:
    """The root mean square difference between two pictures of a prompt, a mean over pairs and prompts, in [0, 1].

    ``pictures`` ``(P * each, 3, H, W)`` in [0, 1] lie prompt by prompt; 0 for one picture of a prompt.
    """
    grouped = pictures.view(-1, each, pictures[0].numel())
    if each < 2:
        return 0.0
    # By products of matrices, as is usual for many, equal pictures would seem to differ.
    apart = torch.cdist(grouped, grouped, compute_mode="donot_use_mm_for_euclid_dist") / grouped.shape[-1] ** 0.5
    return float(apart.sum((1, 2)).mean() / (each * (each - 1)))


@torch.no_grad()
def divergence(painter: Painter, start: DenoiserPolicy, prompts: Sequence[str], seed: int = 0) -> float:
    """Divergence from ``start`` of the way to a picture, in nats, a mean over pictures of ``prompts``.

    The sum over the steps of a way that the painter's policy draws of KL(policy || start), of the steps that draw.
    """
    with torch.random.fork_rng():
        torch.manual_seed(mixed(seed, 0))
        policy, env = painter.policy, painter.env
        device = next(policy.parameters()).device
        batch = {name: value.to(device) for name, value in painter.read(prompts).items()}
        batch["noise"] = env.noise(len(prompts)).to(device)
        played = rollout(env, policy, batch)
        total = torch.zeros(len(prompts))
        for at in env.learnt:
            _, mean, std = policy.log_prob(played.states[at], played.actions[at])
            before = start.log_prob(played.states[at], played.actions[at])[1]
            total += gaussian_kl(mean, before, std).cpu()
    return float(total.mean())
