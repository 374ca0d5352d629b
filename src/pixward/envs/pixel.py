"""System 4, pixels: every pixel is an agent that picks one operation per step.

The paper is PixelRL (Furuta, Inoue and Yamasaki, "Fully Convolutional Network with Multi-Step Reinforcement Learning
for Image Processing", AAAI 2019; TMM 2020). The state is a float image that is never clipped or rounded on the way;
only scoring does that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pixward.ops.pixel import COLOUR, RESTORE, ActionSet
from pixward.rewards.pixel import lab_distance, squared_error
from pixward.types import Reward, State


class PixelEnv:
    """Batched episodes in which one decision is a map ``(B, H, W)`` of action indices.

    State, every value with the batch first:

    - ``image``: ``(B, C, H, W)``, as it is now: any float, nothing is clipped.
    - ``clean``: ``(B, C, H, W)``, what it should become.
    - ``step``: ``(B,)`` float32, how many actions were taken.

    What else a batch or a state holds is handed on untouched, so a recurrent policy finds its memory where it left it.
    The reward of a pixel is what the step gained there, ``(B, H, W)``:
    ``reward(after, clean) - reward(before, clean)``.
    """

    def __init__(self, actions: ActionSet = RESTORE, horizon: int = 5, reward: Reward = squared_error) -> None:
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}")
        self.actions, self.horizon, self.reward = actions, horizon, reward

    def reset(self, batch: State) -> State:
        """The first state for ``batch``: ``{"image": (B, C, H, W), "clean": (B, C, H, W)}``, floats about [0, 1].

        Raises:
            ValueError: the two differ in shape, or have another number of channels than the actions work on.
        """
        image, clean, channels = batch["image"], batch["clean"], self.actions.channels
        if image.shape != clean.shape or image.ndim != 4 or image.shape[1] != channels:
            raise ValueError(
                f"image {tuple(image.shape)} and clean {tuple(clean.shape)} must both be (B, {channels}, H, W)"
            )
        return {**batch, "step": torch.zeros(image.shape[0], device=image.device)}

    @torch.no_grad()
    def step(self, state: State, action: Tensor) -> tuple[State, Tensor]:
        """Let every pixel do its ``action``, ``(B, H, W)`` integers.

        Returns the next state and the reward ``(B, H, W)``. The old state stays as it was.

        Raises:
            ValueError: the action map has another shape than the image, or an index that is no action.
        """
        before, clean = state["image"], state["clean"]
        after = self.actions.apply(before, action)
        gain = self.reward(after, clean) - self.reward(before, clean)
        return {**state, "image": after, "step": state["step"] + 1}, gain

    def image(self, state: State) -> Tensor:
        """The picture as it is now, ``(B, 3, H, W)``, clipped to [0, 1] for showing."""
        return state["image"].clamp(0, 1).expand(-1, 3, -1, -1)


def denoising() -> PixelEnv:
    """PixelRL's denoising of grey images: 5 steps."""
    return PixelEnv(RESTORE, 5, squared_error)


def restoration() -> PixelEnv:
    """PixelRL's restoration of grey images: 15 steps."""
    return PixelEnv(RESTORE, 15, squared_error)


def colour_enhancement() -> PixelEnv:
    """PixelRL's local enhancement of colour images: 10 steps, distance in CIE Lab."""
    return PixelEnv(COLOUR, 10, lab_distance)
