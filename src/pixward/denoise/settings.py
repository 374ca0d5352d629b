"""How models are tuned where nothing else is said: the small ones that ship, and others as in the papers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from pixward.train.ppo_settings import DDPO, RLCM, PPOSettings

PolicyGradient = Literal["rlcm", "ddpo"]

SMALL_GUIDANCE = 4.0
"""Guidance of the models that ship: what the diffusion model draws its most recognisable pictures with."""
SMALL_QUERIES = 1_600
"""Pictures that a small model is rewarded for."""
SMALL_SET = 32
"""Pictures of a set; one update learns from each."""
SMALL_WEIGHTS = 20_000_000
"""Weights of a denoiser below which it counts as small."""
PAPER_RANK = 8
"""Rank of the LoRA that larger models are tuned by."""
CHECKPOINTS = 10
"""About how many looks and checkpoints a run has."""


def small_settings(algorithm: PolicyGradient, queries: int = SMALL_QUERIES, seed: int = 0) -> PPOSettings:
    """For models of the size of those that ship; ``queries`` are rounded up to whole sets of 32 pictures."""
    paper = RLCM if algorithm == "rlcm" else DDPO
    return _scaled(
        replace(
            paper, seed=seed, batch=SMALL_SET, accumulate=1, parts=1, minibatch=32, buffer=16, least=8,
            learning_rate=1e-4,
        ),
        queries,
    )  # fmt: skip


def paper_settings(algorithm: PolicyGradient, queries: int = 0, seed: int = 0) -> PPOSettings:
    """The paper's, with as many sets as ``queries`` pictures fill, rounded up; the paper's own number at 0."""
    paper = replace(RLCM if algorithm == "rlcm" else DDPO, seed=seed)
    return _scaled(paper, queries or paper.steps * paper.batch * paper.accumulate)


def _scaled(settings: PPOSettings, queries: int) -> PPOSettings:
    steps = max(1, math.ceil(queries / (settings.batch * settings.accumulate)))
    return replace(settings, steps=steps, checkpoint_every=max(1, round(steps / CHECKPOINTS)))
