"""System 1, editing: move an editor's sliders until the photo looks like the goal.

The paper is RLPixTuner (NeurIPS 2024), section 3. One thing differs on purpose: every action is a whole slider vector
and is rendered from the untouched photo, so the last action *is* the edit and can be saved as one setting; the released
code renders each step from the step before.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pixward.image import quantize
from pixward.types import Editor, State


class EditEnv:
    """Batched editing towards a goal image, for any editor.

    State, every value with the batch first (``d`` sliders):

    - ``source``, ``goal``: ``(B, 3, H, W)``, as given; the goal is rounded to 8 bit.
    - ``image``: ``(B, 3, H, W)``, the newest render, 8-bit values; at first the source itself.
    - ``params``: ``(B, d)``, the sliders behind ``image``, normalised to [-1, 1]; at first the defaults.
    - ``step``: ``(B,)`` float32, how many actions were taken.
    - ``history``: ``(B, horizon, d + 1)``, row ``t`` is action ``t`` and the RMS distance of its render to the goal;
      zeros for what has not happened yet.

    The reward is the gain in PSNR, in dB (paper, section 3.2), with the PSNR capped at ``reward_cap``. The paper ends
    an episode at 60 dB; with the cap there is nothing left to gain there, and batches do not become ragged.
    """

    def __init__(self, editor: Editor, horizon: int = 10, reward_cap: float = 60.0) -> None:
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}")
        self.editor, self.horizon = editor, horizon
        self._least_mse = 10 ** (-reward_cap / 10)

    def reset(self, batch: State) -> State:
        """The first state for ``batch``: ``{"source": (B, 3, H, W), "goal": (B, 3, H, W)}``, both in [0, 1].

        Raises:
            ValueError: source and goal differ in shape or are no colour images.
        """
        source, goal = batch["source"], batch["goal"]
        if source.shape != goal.shape or source.ndim != 4 or source.shape[1] != 3:
            raise ValueError(f"source {tuple(source.shape)} and goal {tuple(goal.shape)} must both be (B, 3, H, W)")
        count, sliders = source.shape[0], len(self.editor.space)
        return {
            "source": source,
            "goal": quantize(goal),
            "image": quantize(source),
            "params": self.editor.space.default_action(count, device=source.device),
            "step": torch.zeros(count, device=source.device),
            "history": torch.zeros(count, self.horizon, sliders + 1, device=source.device),
        }

    @torch.no_grad()
    def step(self, state: State, action: Tensor) -> tuple[State, Tensor]:
        """Render ``action`` ``(B, d)``, absolute sliders in [-1, 1] (clamped), from the source.

        Returns the next state and the reward ``(B,)`` in dB. The old state stays as it was.

        Raises:
            ValueError: the action has another shape than the sliders.
        """
        if action.shape != state["params"].shape:
            raise ValueError(f"action must be {tuple(state['params'].shape)}, got {tuple(action.shape)}")
        action = action.clamp(-1, 1)
        image = quantize(self.editor(state["source"], self.editor.space.denormalize(action)))
        before = _mse(state["image"], state["goal"])
        after = _mse(image, state["goal"])
        # PSNR(t + 1) - PSNR(t), paper section 3.2.
        reward = (10 / math.log(10)) * (before.clamp_min(self._least_mse) / after.clamp_min(self._least_mse)).log()
        row = torch.cat([action, after.sqrt()[:, None]], 1)
        now = torch.arange(self.horizon, device=action.device) == state["step"][:, None]
        following = {
            "source": state["source"],
            "goal": state["goal"],
            "image": image,
            "params": action,
            "step": state["step"] + 1,
            "history": torch.where(now[..., None], row[:, None], state["history"]),
        }
        return following, reward

    def image(self, state: State) -> Tensor:
        """The newest render, ``(B, 3, H, W)``."""
        return state["image"]


def _mse(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).flatten(1).mean(1)
