"""What a reward for generated pictures is asked, and whether its answer makes sense: one place for all who ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pixward.errors import PixwardError

PictureReward = Callable[[Tensor, Sequence[str], Sequence[Any]], Any]
"""``(images (B, 3, H, W) in [0, 1], prompts, metadata) -> scores (B,)`` or ``(scores, info)``, higher is better, as in
ddpo-pytorch and TRL. Scores are a tensor, an array or a list; ``info`` is a dict of what to log, or anything else,
which is passed over."""


def ask(
    reward: PictureReward, images: Tensor, prompts: Sequence[str], metadata: Sequence[Any], name: str | None = None
) -> tuple[Tensor, Any]:
    """The scores ``(B,)`` of ``images`` ``(B, 3, H, W)``, with their gradient if they have one, and the info.

    Args:
        reward: a plain callable.
        images, prompts, metadata: handed to it.
        name: what errors call it; :func:`name_of` it if None.

    Raises:
        PixwardError: it fails, or its scores are no numbers, not one a picture, or not finite, with its name; or a
            picture is not finite, which is the fault of who drew it.
    """
    called = name or name_of(reward)
    spoilt = (~images.detach().isfinite()).flatten(1).any(1).nonzero()
    if len(spoilt):
        item = int(spoilt[0])
        raise PixwardError(
            f"picture {item}, prompt {prompts[item]!r}, has values that are no finite numbers: the model that drew it "
            "has diverged; go back to a checkpoint, and lower the learning rate"
        )
    try:
        given = reward(images, prompts, metadata)
    except PixwardError:
        raise
    except Exception as error:
        # A reward is a user's: whatever it raises is to be told in its name.
        raise PixwardError(f"the reward {called} failed: {type(error).__name__}: {error}") from error
    # Two pictures may have got a tuple of two numbers.
    paired = isinstance(given, tuple) and len(given) == 2 and not isinstance(given[1], int | float)
    scores, info = given if paired else (given, {})
    return checked_scores(called, scores, prompts), info


def checked_scores(name: str, scores: Any, prompts: Sequence[str]) -> Tensor:
    """``scores`` as a tensor ``(B,)``, one finite number for each of ``prompts``, with its gradient if it has one.

    Raises:
        PixwardError: they are not; it says which reward, and for a bad number which picture and prompt.
    """
    try:
        if isinstance(scores, list | tuple) and scores and isinstance(scores[0], Tensor):
            scores = torch.stack(list(scores))
        found = torch.as_tensor(scores)
    except (TypeError, ValueError, RuntimeError):
        raise PixwardError(
            f"the reward {name} must return {len(prompts)} numbers, one for each picture, not {described(scores)}"
        ) from None
    if tuple(found.shape) != (len(prompts),):
        raise PixwardError(
            f"the reward {name} must return ({len(prompts)},), one number for each picture, got {tuple(found.shape)}"
        )
    wrong = (~found.detach().isfinite()).nonzero()
    if len(wrong):
        item = int(wrong[0])
        raise PixwardError(
            f"the reward {name} is {float(found[item].detach())} for picture {item}, prompt {prompts[item]!r}"
        )
    return found


def name_of(reward: Any) -> str:
    """What errors call ``reward``: a function's name, else its class's; looks into a ``functools.partial``."""
    inner = getattr(reward, "func", reward)
    return str(getattr(inner, "__name__", type(inner).__name__))


def described(thing: Any) -> str:
    """What somebody handed over, in words: its type, and the shape if it has one."""
    shape = getattr(thing, "shape", None)
    return type(thing).__name__ if shape is None else f"{type(thing).__name__} {thing.dtype} {tuple(shape)}"
