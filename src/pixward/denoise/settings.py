"""How the small models are tuned unless told otherwise: the papers' settings, with what a small model needs changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pixward.train.ppo_settings import DDPO, RLCM, PPOSettings

Algorithm = Literal["rlcm", "ddpo"]

SET = 32
"""Pictures of a set, with one update each: the papers' sets of 256 leave six updates to 1,600 pictures."""


def small_settings(algorithm: Algorithm, queries: int, seed: int = 0) -> PPOSettings:
    """Settings for the models that ship.

    Clip, advantages, weight decay and gradient norm are the paper's, per value of the latents; sets are of 32 pictures
    with one update each, and the rewards of a prompt are compared from the eighth on.

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
        learning_rate=3e-4,
        floor=1.0,
        checkpoint_every=10,
    )
