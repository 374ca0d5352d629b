"""Settings of :mod:`pixward.train.ppo`, and the two papers' values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PPOSettings:
    """How to tune. :data:`RLCM` and :data:`DDPO` are the papers'.

    Attributes:
        steps: sets of samples.
        seed: of the samples.
        batch: pictures drawn at once, a small batch.
        samples: pictures of each prompt in a small batch; the group, if ``advantage`` is that.
        accumulate: small batches in a set, over all processes.
        parts: optimiser updates in one pass over a set, each from an equal share of its small batches.
        passes: how often a set is learnt from.
        clip: how far, per value of the latents, PPO lets the logarithm of the ratio of new to old probability go with
            profit; 0 is REINFORCE.
        clip_size: of how many values the latents were that ``clip`` was chosen for: a decision may move by
            ``clip * clip_size`` nats as a whole, whatever its size is here. 0: of as many as here.
        per: ``pixel``: log-probabilities, ratios and the divergence are means over the latents' values, as in both
            papers' code; ``decision``: sums. What is clipped is the same.
        advantage: what a reward is compared with: the last ones of its ``prompt``, those of its ``group`` (its prompt
            in this set), or the ``batch``, the whole set.
        buffer: how many rewards of a prompt are remembered.
        least: below this many the whole set serves.
        limit: advantages are cut to +- this.
        fraction: share of the decisions that is learnt from, drawn anew in every pass.
        minibatch: decisions in one forward and backward pass; bounds the memory.
        kl: weight of the divergence from the start; 0 for none.
        learning_rate: AdamW's at the start; falls evenly to ``floor``.
        floor: share of it that is left at the end.
        weight_decay: AdamW's.
        clip_grad: largest L2 norm of a gradient; 0 does not clip.
        average: share of a running mean of the weights that stays at every update; the mean is what is evaluated and
            kept. 0 keeps the last weights.
        threads: in which rewards are computed while the next pictures are drawn; 0 waits for each.
        log_every: steps between log lines.
        checkpoint_every: steps between checkpoints, each with a log line.
    """

    steps: int = 1_000
    seed: int = 0
    batch: int = 8
    samples: int = 1
    accumulate: int = 4
    parts: int = 1
    passes: int = 1
    clip: float = 1e-4
    clip_size: int = 0
    per: Literal["pixel", "decision"] = "pixel"
    advantage: Literal["prompt", "group", "batch"] = "prompt"
    buffer: int = 32
    least: int = 16
    limit: float = 10.0
    fraction: float = 1.0
    minibatch: int = 8
    kl: float = 0.0
    learning_rate: float = 1e-4
    floor: float = 1.0
    weight_decay: float = 0.0
    clip_grad: float = 5.0
    average: float = 0.0
    threads: int = 0
    log_every: int = 1
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        """Raises ValueError for settings that cannot be."""
        if self.batch % self.samples or self.samples < 1:
            raise ValueError(
                f"{self.samples} samples of each prompt do not fill a batch of {self.batch}: set a divisor"
            )
        if self.accumulate % self.parts or self.parts < 1:
            raise ValueError(f"{self.accumulate} small batches do not make {self.parts} equal parts: set a divisor")
        if self.advantage == "group" and self.samples < 2:
            raise ValueError(f"a group compares pictures of one prompt: set samples to 2 or more, not {self.samples}")
        if self.parts * self.passes > 1 and not self.clip:
            raise ValueError("several updates on one set of samples need clip: the samples are no longer the policy's")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must lie in (0, 1], got {self.fraction}")


RLCM = PPOSettings(
    steps=1_000, batch=8, accumulate=4, clip=1e-4, clip_size=4 * 96 * 96, learning_rate=1e-4, floor=2 / 3, clip_grad=5.0
)
"""RLCM's for aesthetics: 100 epochs of 10 sets of 32 pictures of 768 x 768, Adam, one update a set (4 GPUs' small
batches). The rate, which rlcm lowers after every epoch, falls after every set here."""

DDPO = PPOSettings(
    steps=200,
    batch=8,
    accumulate=32,
    parts=2,
    clip=1e-4,
    clip_size=4 * 64 * 64,
    limit=5.0,
    learning_rate=3e-4,
    weight_decay=1e-4,
    clip_grad=1.0,
)
"""DDPO's for aesthetics: 200 sets of 256 pictures of 512 x 512, two updates a set (8 GPUs' small batches)."""

FREE = frozenset({"log_every", "checkpoint_every", "threads"})
"""Settings that may differ when a run is resumed: they change nothing that is learnt."""
