"""Our rewards inside TRL: its trainers take callables of another signature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pixward.errors import PixwardError

TrlReward = Callable[..., list[float]]
"""TRL's ``reward_funcs``: ``(prompts, completions, **columns) -> list[float]``, one number for each completion."""


def as_trl(
    reward: Callable[[Any, Any], Tensor],
    parse: Callable[[list[str]], Any],
    column: str,
    collect: Callable[[list[Any]], Any] = list,
    name: str | None = None,
) -> TrlReward:
    """A reward of ours as one of TRL's, for its ``GRPOTrainer`` and ``RLOOTrainer``.

    Args:
        reward: ``(output, target) -> (N,)``, such as :func:`pixward.rewards.vision.detection_recall`.
        parse: texts of all completions to the ``output`` of the whole batch; what cannot be read is its decision.
        column: of the data set, which holds the truth of each prompt; TRL repeats it for the prompt's samples.
        collect: that column, one entry for each completion, to ``target``.
        name: what TRL's log calls it; the reward's own name if None.

    The callable raises PixwardError if the data set lacks the column, if a score is no finite number, or if there is
    not one for each completion.
    """
    called = str(name or getattr(reward, "__name__", type(reward).__name__))

    def scored(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        if column not in columns:
            raise PixwardError(
                f"the reward {called} reads the column {column!r}, the data set has {', '.join(columns) or 'none'}: "
                "add it, and set remove_unused_columns=False"
            )
        scores = torch.as_tensor(reward(parse([_text(said) for said in completions]), collect(list(columns[column]))))
        if tuple(scores.shape) != (len(completions),):
            raise PixwardError(
                f"the reward {called} must give {len(completions)} scores, one for each completion, "
                f"got {tuple(scores.shape)}"
            )
        wrong = (~scores.isfinite()).nonzero()
        if len(wrong):
            item = int(wrong[0])
            raise PixwardError(
                f"the reward {called} is {float(scores[item])} for completion {item}: {completions[item]!r}"
            )
        return [float(value) for value in scores]

    scored.__name__ = called
    return scored


def _text(completion: Any) -> str:
    """A completion as text: TRL hands over strings, or for chats the list of messages."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
