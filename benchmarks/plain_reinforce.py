"""REINFORCE for boxes as one would write it from the paper, in plain torch: what predict_speed.py compares ours with.

The network is ours; sampling, reward, loss and update are not. Pictures are repeated for their samples, so that the
encoder runs once for each sample; rewards are asked for one sample at a time. There are three ways to sample:

``forward``  the whole network, encoder and all, for every token;
``memory``   the encoder once for each sample, the decoder over all tokens so far for every token;
``cache``    as ``memory``, with keys and values of earlier tokens kept.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pixward.boxes import Boxes
from pixward.data.tokens import END, BoxTokens
from pixward.policies.sequence import SequencePolicy
from pixward.policies.transformer import Cache
from pixward.rewards.vision import DetectionSettings, detection_outcome

Way = Literal["forward", "memory", "cache"]


class Plain:
    """One policy, one optimiser, one step after the other.

    Attributes:
        seconds: processor time of each part of the last step: ``sample``, ``reward``, ``learn``.
    """

    def __init__(self, policy: SequencePolicy, kind: BoxTokens, way: Way, count: int, rate: float) -> None:
        self.policy, self.kind, self.way, self.count = policy.eval(), kind, way, count
        self.optimizer = torch.optim.AdamW(policy.parameters(), rate, weight_decay=0.0)
        self.generator = torch.Generator().manual_seed(0)
        self.seconds: dict[str, float] = {}

    def step(self, batch: Mapping[str, Any]) -> Tensor:
        """Sample, reward, learn; the tokens ``(B, K, L)``."""
        began = time.process_time()
        tokens = self.sample(batch["images"])
        sampled = time.process_time()
        rewards, fits = self.rewards(tokens, batch["boxes"])
        rewarded = time.process_time()
        self.optimizer.zero_grad()
        self.loss(batch["images"], tokens, rewards, fits).backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimizer.step()
        learnt = time.process_time()
        self.seconds = {"sample": sampled - began, "reward": rewarded - sampled, "learn": learnt - rewarded}
        return tokens

    @torch.no_grad()
    def sample(self, images: Tensor) -> Tensor:
        """``(B, K, L)``, all samples until the last of them has ended."""
        policy, length = self.policy, self.policy.settings.length
        repeated = images.repeat_interleave(self.count, 0)
        tokens = torch.full((len(repeated), length), END)
        ended = torch.zeros(len(repeated), dtype=torch.bool)
        memory = None if self.way == "forward" else policy.encode(repeated)
        caches = [Cache.empty(len(repeated), length, keys) for keys, _ in memory or []]
        for step in range(length):
            if memory is None:
                logits = policy(repeated, tokens[:, None, : step + 1])[:, 0, -1]
            elif self.way == "memory":
                logits = self._decode(tokens[:, : step + 1], memory)
            else:
                before = policy.words(tokens[:, step - 1]) if step else policy.start.expand(len(tokens), -1)
                x = (before + policy.positions[step])[:, None, None]
                for block, looked, cache in zip(policy.decoder, memory, caches, strict=True):
                    x = block(x, looked, cache)
                logits = policy.head(policy.decoded(x))[:, 0, 0]
            probs = logits.masked_fill(~self.kind.allowed(tokens[:, :step]), -torch.inf).softmax(1)
            drawn = torch.multinomial(probs, 1, generator=self.generator)[:, 0]
            tokens[:, step] = torch.where(ended, END, drawn)
            ended |= tokens[:, step] == END
            if ended.all():
                break
        return tokens.unflatten(0, (-1, self.count))

    def _decode(self, tokens: Tensor, memory: list[tuple[Tensor, Tensor]]) -> Tensor:
        policy = self.policy
        shifted = torch.cat([policy.start.expand(len(tokens), 1, -1), policy.words(tokens[:, :-1])], 1)
        x = (shifted + policy.positions[: tokens.shape[1]])[:, None]
        for block, looked in zip(policy.decoder, memory, strict=True):
            x = block(x, looked)
        return policy.head(policy.decoded(x[:, 0, -1]))

    def rewards(self, tokens: Tensor, truth: Boxes) -> tuple[Tensor, Tensor]:
        """The reward ``(B, K)`` and what each confidence should be ``(B, K, boxes)``, one sample at a time."""
        outcomes = [
            detection_outcome(self.kind.decode(said[None]), truth.select(slice(at, at + 1)), DetectionSettings())
            for at, samples in enumerate(tokens)
            for said in samples
        ]
        rewards = torch.stack([outcome.reward[0] for outcome in outcomes]).unflatten(0, (-1, self.count))
        return rewards, torch.stack([outcome.confidence[0] for outcome in outcomes]).unflatten(0, (-1, self.count))

    def loss(self, images: Tensor, tokens: Tensor, rewards: Tensor, fits: Tensor) -> Tensor:
        """Each sample against the mean of the others of its picture, and 0.3 of the confidences' cross-entropy."""
        said = tokens.flatten(0, 1)
        logits = self.policy(images.repeat_interleave(self.count, 0), said[:, None])[:, 0]
        table = logits.masked_fill(~self.kind.allowed_along(said), -torch.inf).log_softmax(2)
        log_probs = table.gather(2, said[..., None])[..., 0]
        ended = (said == END).long().cumsum(1)
        counted = (ended == 0) | ((ended == 1) & (said == END))
        # The confidence, last of six, is not reached by the policy gradient.
        learnt = counted & (torch.arange(said.shape[1]) % 6 != 5)
        advantages = (rewards - (rewards.sum(1, keepdim=True) - rewards) / (self.count - 1)).flatten()
        policy_loss = -(advantages * torch.where(learnt, log_probs, 0).sum(1)).mean() / said.shape[1]
        there, fits = counted[:, 5::6], fits.flatten(0, 1)
        right = torch.where(there, table[:, 5::6, self.kind.RIGHT], 0)
        wrong = torch.where(there, table[:, 5::6, self.kind.WRONG], 0)
        return policy_loss - 0.3 * (fits * right + (1 - fits) * wrong).sum() / there.sum()
