"""Rewards for generated pictures, between our form and that of ddpo-pytorch and of TRL's DDPOTrainer.

Theirs is ``(images, prompts, metadata) -> (scores, info)``, ours ``(output, target) -> (B,)`` with the prompts as
``target``. Both ways check what comes back, so that a fault names the reward, the picture and its prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixward.errors import PixwardError
from pixward.judging import PictureReward, ask, checked_scores, described, name_of


@dataclass(frozen=True)
class FromDdpo:
    """A reward of ddpo-pytorch or TRL as one of ours; see :func:`from_ddpo`."""

    function: PictureReward
    name: str

    def __call__(self, output: Tensor, target: Sequence[str]) -> Tensor:
        """Scores ``(B,)`` float32 of pictures ``(B, 3, H, W)`` in [0, 1] for their prompts, without metadata."""
        return self.scored(output, target)[0]

    def scored(
        self, output: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Scores ``(B,)`` float32 on the device of ``output``, and what the reward says beside them.

        Args:
            output: ``(B, 3, H, W)`` in [0, 1].
            prompts: one for each picture.
            metadata: one for each picture, from whoever chose the prompt; empty ones if None.

        Raises:
            PixwardError: the reward raises, or gives something other than one finite number for each picture.
        """
        told: Sequence[Mapping[str, Any]] = [{} for _ in prompts] if metadata is None else metadata
        if not len(output) == len(prompts) == len(told):
            raise ValueError(f"{len(output)} pictures, {len(prompts)} prompts and {len(told)} metadata must be as many")
        # Detached, or the scores of a network would keep its activations for as long as anyone keeps them.
        scores, info = ask(self.function, output.detach(), tuple(prompts), tuple(told), self.name)
        return scores.detach().float().to(output.device), dict(info) if isinstance(info, Mapping) else {}


def from_ddpo(function: PictureReward, name: str | None = None) -> FromDdpo:
    """``function(images, prompts, metadata) -> (scores, info)`` as a reward ``(output, target)`` of ours.

    It is handed what those libraries hand it: pictures ``(B, 3, H, W)`` float in [0, 1], prompts and metadata as
    tuples. Scores may be a tensor, an array or a list of numbers.

    Args:
        function: the reward, such as one that ddpo-pytorch's ``rewards.py`` makes.
        name: what errors call it; its own name if None.

    Raises:
        PixwardError: when called; see :meth:`FromDdpo.scored`.
    """
    return FromDdpo(function, name or name_of(function))


def as_ddpo(reward: Callable[[Tensor, Any], Tensor], name: str | None = None) -> PictureReward:
    """A reward of ours, such as :func:`pixward.rewards.image.compressibility`, for ddpo-pytorch and TRL's DDPOTrainer.

    The callable takes pictures ``(B, 3, H, W)`` in [0, 1], as a tensor, or as an array ``(B, H, W, 3)`` of 8 bits, and
    gives scores ``(B,)`` float32, without gradients, with an empty dict. The prompts are the reward's ``target``.

    It raises PixwardError if a score is no finite number or there is not one for each picture.
    """
    called = name or name_of(reward)

    def scored(
        images: Any, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]
    ) -> tuple[Tensor, dict[str, Any]]:
        with torch.no_grad():
            scores = checked_scores(called, reward(_pictures(images), list(prompts)), prompts)
        return scores.float(), {}

    scored.__name__ = called
    return scored


def _pictures(images: Any) -> Tensor:
    """What those libraries call images, as ours."""
    if isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3:
        return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255
    if isinstance(images, Tensor) and images.is_floating_point() and images.ndim == 4 and images.shape[1] == 3:
        return images.float()
    raise PixwardError(
        "pictures are a float tensor (B, 3, H, W) in [0, 1], or an array (B, H, W, 3) of 8 bits, "
        f"not {described(images)}"
    )
