"""How models are tuned unless told otherwise: those that ship, and larger ones by the papers' settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pixward.train.direct import DRAFT1, DirectSettings
from pixward.train.ppo_settings import DDPO, RLCM, PPOSettings

Algorithm = Literal["rlcm", "ddpo"]

SET = 32
"""Pictures of a set, with one update each: the papers' sets of 256 leave six updates to 1,600 pictures."""
SMALL = 20_000_000
"""Weights of a denoiser below which a model counts as small, as those are that ship."""
SMALL_QUERIES = 1_600
"""Pictures that a small model is rewarded for."""
SMALL_GUIDANCE = 4.0
"""Of both models that ship: what the diffusion model draws its most recognisable pictures with."""
SMALL_RATE = 3e-5
"""Learning rate for all weights of a small model. Adam's first steps are as long as the rate allows: tuned for small
files by RLCM, at 1e-4 most pictures stop showing what prompts say within twenty sets, at 3e-4 within ten."""
PAPER_RANK = 8
"""Rank of the LoRA that larger models are tuned by, RLCM's."""


def small_settings(algorithm: Algorithm, queries: int, seed: int = 0) -> PPOSettings:
    """Settings for the models that ship.

    Clip, advantages, weight decay and gradient norm are the paper's, per value of the latents; sets are of 32 pictures
    with one update each, the rewards of a prompt are compared from the eighth on, and the rate is
    :data:`SMALL_RATE`, for all weights; a LoRA stands the paper's.

    Args:
        algorithm: whose settings.
        queries: pictures to be judged in all, rounded up to whole sets.
        seed: of the pictures.
    """
    paper = RLCM if algorithm == "rlcm" else DDPO
    return replace(
        paper,
        steps=max(1, -(-queries // SET)),
        seed=seed,
        batch=SET,
        accumulate=1,
        parts=1,
        buffer=16,
        least=8,
        minibatch=SET,
        learning_rate=SMALL_RATE,
        floor=1.0,
        checkpoint_every=10,
    )


def paper_settings(algorithm: Algorithm, queries: int = 0, seed: int = 0) -> PPOSettings:
    """The paper's, with as many sets as ``queries`` pictures fill, rounded up; as many as in the paper at 0."""
    paper = RLCM if algorithm == "rlcm" else DDPO
    steps = -(-queries // (paper.batch * paper.accumulate)) or paper.steps
    # Rewards of large pictures take time: one thread judges while the next pictures are drawn.
    return replace(paper, steps=steps, seed=seed, checkpoint_every=max(1, min(100, steps // 10)), threads=1)


def direct_settings(queries: int, seed: int = 0, batch: int = SET) -> DirectSettings:
    """The gradient of the reward through the last step (DRaFT-1), in sets of 32 pictures, ``batch`` drawn at once."""
    steps = max(1, -(-queries // SET))
    return replace(DRAFT1, steps=steps, seed=seed, batch=batch, accumulate=SET // batch, checkpoint_every=10)
