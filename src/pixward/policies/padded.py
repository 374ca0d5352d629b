"""Networks that know some of an editor's sliders, with the further ones that a person asked for.

``pixward match --slider sharpen.amount`` gives an editor sliders that no network has seen. They come last; the networks
leave them at their defaults, and say that they do nothing, until renders tell what they do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pixward.types import State


class PaddedPolicy(nn.Module):
    """A policy of the first sliders that leaves the others where ``rest`` ``(k,)``, normalised, says."""

    def __init__(self, policy: Any, rest: Tensor) -> None:
        super().__init__()
        self.policy, self.rest = policy, rest
        self.settings = replace(policy.settings, sliders=policy.settings.sliders + len(rest))

    @torch.no_grad()
    def forward(self, state: State) -> Tensor:
        """The setting ``(B, d)``; the policy sees a state of its own sliders alone."""
        known = self.policy.settings.sliders
        history = state["history"]
        seen = {
            **state,
            "params": state["params"][:, :known],
            "history": torch.cat([history[..., :known], history[..., -1:]], 2),
        }
        action = self.policy(seen)
        return torch.cat([action, self.rest.to(action).expand(len(action), -1)], 1)


class PaddedResponse(nn.Module):
    """A response to the first sliders; the last ``len(rest)`` change nothing."""

    def __init__(self, response: Any, rest: Tensor) -> None:
        super().__init__()
        self.response, self.unknown = response, len(rest)
        self.settings = replace(response.settings, sliders=response.settings.sliders + len(rest))

    def forward(self, pixels: Tensor, params: Tensor) -> Tensor:
        """``(pixels (B, N, 7), params (B, d)) -> (B, N, 3)``."""
        predicted: Tensor = self.response(pixels, params[:, : -self.unknown])
        return predicted

    def jacobian(self, pixels: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction and derivatives ``(N * 3, d)``, those of the last sliders 0."""
        values, slopes = self.response.jacobian(pixels, params[: -self.unknown])
        return values, torch.cat([slopes, slopes.new_zeros(len(slopes), self.unknown)], 1)
