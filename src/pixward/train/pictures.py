"""What a policy that makes pictures is rewarded for, and how far above its prompt's usual reward a picture is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

import torch
from torch import Tensor

from pixward.judging import PictureReward, ask
from pixward.train.workers import Batch

__all__ = ["PictureReward", "PictureTask", "PromptStatistics", "judge", "numbers"]


@dataclass(frozen=True)
class PictureTask:
    """What is to be learnt.

    Attributes:
        batches: ``batches(i, count)`` is small batch ``i`` of ``count`` prompts, a function of the two alone:
            ``prompts``, a list of strings, perhaps ``metadata``, a list, and tensors ``(count, ...)`` that the policy
            reads, such as ``prompt``; with ``noise`` where it is not to be drawn.
        reward: a plain callable; its name goes into messages.
    """

    batches: Callable[[int, int], Batch]
    reward: PictureReward


def judge(
    reward: PictureReward, images: Tensor, prompts: Sequence[str], metadata: Sequence[Any]
) -> tuple[list[float], dict[str, float]]:
    """What ``reward`` says of each picture, and the means of the numbers in its ``info``, as ``reward/name``.

    Raises:
        PixwardError: it fails, or its scores are no numbers, not one a picture, or not finite; with its name.
    """
    scores, info = ask(reward, images, prompts, metadata)
    return scores.detach().to("cpu", torch.float64).tolist(), numbers(info)


def numbers(info: Any) -> dict[str, float]:
    """The means of the numbers in what a reward says beside its scores, as ``reward/name``."""
    figures = {}
    for name, value in info.items() if isinstance(info, Mapping) else ():
        try:
            figures[f"reward/{name}"] = float(torch.as_tensor(value).double().mean())
        except (TypeError, ValueError, RuntimeError):
            continue  # words, pictures: not for a log of numbers
    return figures


class PromptStatistics:
    """The last rewards of every prompt, and how many of their deviations a new one lies above their mean.

    A_i = (r_i - mean_p) / (std_p + 1e-6), of the last ``buffer`` rewards of the prompt, these among them; of the whole
    batch while there are fewer than ``least``  (DDPO, Black et al. 2024, section 4.4)
    """

    def __init__(self, buffer: int, least: int, seen: dict[str, list[float]]) -> None:
        """``seen`` is kept up to date, so that a checkpoint may hold it."""
        self.buffer, self.least, self.seen = buffer, least, seen

    def advantages(self, prompts: Sequence[str], rewards: Sequence[float]) -> list[float]:
        """Take note of ``rewards`` and say how far above the usual each is."""
        fresh: dict[str, list[float]] = {}
        for prompt, reward in zip(prompts, rewards, strict=True):
            fresh.setdefault(prompt, []).append(reward)
        of: dict[str, tuple[float, float]] = {}
        for prompt, more in fresh.items():
            known = self.seen[prompt] = [*self.seen.get(prompt, []), *more][-self.buffer :]
            usual = known if len(known) >= self.least else rewards
            of[prompt] = fmean(usual), pstdev(usual)
        return [
            (reward - of[prompt][0]) / (of[prompt][1] + 1e-6) for prompt, reward in zip(prompts, rewards, strict=True)
        ]
