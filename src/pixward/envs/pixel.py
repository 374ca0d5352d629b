"""System 4, pixels: every pixel is an agent that picks one operation per step.

The paper is PixelRL (Furuta, Inoue and Yamasaki, "Fully Convolutional Network with Multi-Step Reinforcement Learning
for Image Processing", AAAI 2019; TMM 2020). The state is a float image that is never clipped or rounded on the way;
only scoring does that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pixward.ops.pixel import COLOUR, RESTORE, SALIENCY, STOP, ActionSet
from pixward.rewards.pixel import lab_distance, squared_error
from pixward.types import Reward, State


class PixelEnv:
    """Batched episodes in which one decision is a map ``(B, H, W)`` of action indices.

    State, every value with the batch first:

    - ``image``: ``(B, C, H, W)``, as it is now: any float, nothing is clipped.
    - ``clean``: ``(B, C, H, W)``, what it should become.
    - ``first``: ``(B, C, H, W)``, the image before the first step.
    - ``condition``: ``(B, K, H, W)``, if the batch has one: what policies and actions may read beside the image.
    - ``stopped``: ``(B, H, W)`` bool, where the actions hold a "stop": pixels that took it, for which nothing follows.
    - ``step``: ``(B,)`` float32, how many actions were taken.

    What else a batch or a state holds is handed on untouched, so a recurrent policy finds its memory where it left it.
    The reward of a pixel is what the step gained there, ``(B, H, W)``:
    ``reward(after, clean) - reward(before, clean)``, less the price of a step where the pixel did not stop.
    """

    def __init__(
        self, actions: ActionSet = RESTORE, horizon: int = 5, reward: Reward = squared_error, price: float = 0.0
    ) -> None:
        """``price`` is what a step costs a pixel that has not stopped, in units of the reward."""
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}")
        self.actions, self.horizon, self.reward, self.price = actions, horizon, reward, price
        self._stop = actions.index(STOP) if STOP in actions.names else None

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
        state = {**batch, "first": image, "step": torch.zeros(image.shape[0], device=image.device)}
        if self._stop is not None:
            state["stopped"] = torch.zeros_like(image[:, 0], dtype=torch.bool)
        return state

    @torch.no_grad()
    def step(self, state: State, action: Tensor) -> tuple[State, Tensor]:
        """Let every pixel do its ``action``, ``(B, H, W)`` integers.

        Returns the next state and the reward ``(B, H, W)``. The old state stays as it was.

        Raises:
            ValueError: the action map has another shape than the image, or an index that is no action.
        """
        before, clean = state["image"], state["clean"]
        following = dict(state)
        if self._stop is not None:
            action = torch.where(state["stopped"], self._stop, action)
            following["stopped"] = action == self._stop
        after = self.actions.apply(before, action, state.get("condition"))
        gain = self.reward(after, clean) - self.reward(before, clean)
        if self._stop is not None:
            gain = gain - self.price * ~following["stopped"]
        return {**following, "image": after, "step": state["step"] + 1}, gain

    @torch.no_grad()
    def counterfactual(self, state: State) -> Tensor:
        """The reward that every action would have brought each pixel, ``(B, A, H, W)``.

        Exact where the reward of a pixel hangs on that pixel alone, as those of :mod:`pixward.rewards.pixel` do: what
        the others choose then does not matter. Nothing is gained by what follows on a stop.
        """
        before, clean, condition = state["image"], state["clean"], state.get("condition")
        now = self.reward(before, clean)
        gains = [self.reward(action(before, condition), clean) - now for action in self.actions.actions]
        if self._stop is not None:
            price = now.new_full((len(gains), 1, 1, 1), self.price)
            price[self._stop] = 0
            gains = [(gain - cost) * ~state["stopped"] for gain, cost in zip(gains, price, strict=True)]
        return torch.stack(gains, 1)

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


def saliency(reward: Reward) -> PixelEnv:
    """Saliency-driven editing: 8 steps.

    ``reward`` is usually a :class:`pixward.rewards.saliency.SaliencyReward`; a batch's "clean" is what its
    ``saliency_target`` makes of photo and mask, its "condition" what ``saliency_condition`` makes.
    """
    return PixelEnv(SALIENCY, 8, reward)
