"""System 1 towards a look: move an editor's sliders until the photo looks as a picture of another scene does."""

from __future__ import annotations

import torch
from torch import Tensor

from pixward.image import quantize
from pixward.ops.color import linear_to_oklab
from pixward.ops.tone import srgb_to_linear
from pixward.rewards.look import look, look_gap
from pixward.types import Editor, Reward, State


class LookEnv:
    """Batched editing towards a reference, for any editor; :class:`pixward.envs.edit.EditEnv` in all but its reward.

    State, every value with the batch first (``d`` sliders):

    - ``source``: ``(B, 3, H, W)``; ``goal``, the reference: ``(B, 3, h, w)``, 8 bit; both as given.
    - ``truth``: ``(B, 3, H, W)``, only if the batch has it: what the reference's setting makes of the photo.
    - ``image``, ``params``, ``step``: as in ``EditEnv``.
    - ``history``: ``(B, horizon, d + 1)``, row ``t`` is action ``t`` and the ``look_gap`` of its render.

    The reward is what a step gains in ``reward(image, state[target])``.
    """

    def __init__(self, editor: Editor, horizon: int = 10, reward: Reward = look, target: str = "goal") -> None:
        """``target``: ``goal`` to be rewarded for looking alike, ``truth`` for coming near what is hidden.

        Raises:
            ValueError: no step, or another target.
        """
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}")
        if target not in ("goal", "truth"):
            raise ValueError(f"the target is goal or truth, got {target!r}")
        self.editor, self.horizon, self.reward, self.target = editor, horizon, reward, target

    def reset(self, batch: State) -> State:
        """The first state for ``batch``: ``source`` and ``goal``, and ``truth`` if there is one, all in [0, 1].

        Raises:
            ValueError: no colour images, or batches of different sizes; a truth of another shape than the source.
        """
        source, goal = batch["source"], batch["goal"]
        if source.ndim != 4 or goal.ndim != 4 or source.shape[:2] != goal.shape[:2] or source.shape[1] != 3:
            raise ValueError(f"source {tuple(source.shape)} and goal {tuple(goal.shape)} must both be (B, 3, H, W)")
        if "truth" in batch and batch["truth"].shape != source.shape:
            raise ValueError(f"the truth must be {tuple(source.shape)}, got {tuple(batch['truth'].shape)}")
        count, sliders = source.shape[0], len(self.editor.space)
        state = {
            "source": source,
            "goal": quantize(goal),
            "image": quantize(source),
            "params": self.editor.space.default_action(count, device=source.device),
            "step": torch.zeros(count, device=source.device),
            "history": torch.zeros(count, self.horizon, sliders + 1, device=source.device),
        }
        return {**state, "truth": quantize(batch["truth"])} if "truth" in batch else state

    @torch.no_grad()
    def step(self, state: State, action: Tensor) -> tuple[State, Tensor]:
        """Render ``action`` ``(B, d)``, absolute sliders in [-1, 1] (clamped), from the source.

        Returns the next state and the reward ``(B,)``. The old state stays as it was.

        Raises:
            ValueError: the action has another shape than the sliders.
        """
        if action.shape != state["params"].shape:
            raise ValueError(f"action must be {tuple(state['params'].shape)}, got {tuple(action.shape)}")
        action = action.clamp(-1, 1)
        image = quantize(self.editor(state["source"], self.editor.space.denormalize(action)))
        target = state[self.target]
        reward = self.reward(image, target) - self.reward(state["image"], target)
        row = torch.cat([action, look_gap(image, state["goal"])[:, None]], 1)
        now = torch.arange(self.horizon, device=action.device) == state["step"][:, None]
        following = {
            "image": image,
            "params": action,
            "step": state["step"] + 1,
            "history": torch.where(now[..., None], row[:, None], state["history"]),
        }
        return {**state, **following}, reward

    def image(self, state: State) -> Tensor:
        """The newest render, ``(B, 3, H, W)``."""
        return state["image"]


def neg_colour_distance(output: Tensor, target: Tensor) -> Tensor:
    """Minus the mean distance in OKLab, ``(B,)``, times 100 so that 1 is about a just noticeable difference.

    Both ``(B, 3, H, W)`` sRGB in [0, 1], pixel for pixel. Differentiable.
    """
    first, second = (linear_to_oklab(srgb_to_linear(image)) for image in (output, target))
    # Where two pixels are equal the root's slope would be infinite.
    return -100 * ((first - second).square().sum(1) + 1e-6).sqrt().mean((1, 2))
