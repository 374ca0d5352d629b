"""What ``chain:photo`` knows, said in another editor's sliders.

A calibrated map (fitted once per editor on renders, :mod:`pixward.train.calibrate`) says which setting of our own chain
does most nearly what a setting of the editor does. Through it the chain stands in for the editor where only slopes
are wanted (:class:`MappedResponse`), and the chain's policy makes the first guess (:class:`MappedPolicy`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from pixward.editors.chain import CLARITY_GAIN, PHOTO_SPACE, SHARPNESS_GAIN, photo_color, photo_tone
from pixward.ops.color import luma
from pixward.policies.goal import GoalPolicy
from pixward.policies.look import LookPolicy
from pixward.policies.nets import mlp
from pixward.policies.response import value_and_slopes
from pixward.policies.weights import load_weights
from pixward.types import State

_ROUNDS = 12
_STAY = 3e-3
"""How much the inverse of a map prefers sliders that stay at their defaults."""


@dataclass(frozen=True)
class MapSettings:
    """Shape of a :class:`SliderMap`: the editor's ``sliders``, their untouched ``start``, and the hidden ``width``."""

    sliders: int
    start: tuple[float, ...]
    width: int = 32


class SliderMap(nn.Module):
    """``map(setting (B, d)) -> (B, 12)``: normalised sliders of the editor to those of ``chain:photo``.

    A linear part and a small network beside it. The editor's defaults map to the chain's.
    """

    def __init__(self, settings: MapSettings) -> None:
        """Raises ValueError where ``start`` has not one value for each slider."""
        super().__init__()
        if len(settings.start) != settings.sliders:
            raise ValueError(f"start must hold {settings.sliders} values, got {len(settings.start)}")
        self.settings = settings
        self.linear = nn.Linear(settings.sliders, len(PHOTO_SPACE), bias=False)
        self.bend = mlp([settings.sliders, settings.width, len(PHOTO_SPACE)])
        nn.init.zeros_(self.linear.weight)

    def forward(self, setting: Tensor) -> Tensor:
        """The chain's sliders, not clamped."""
        start = torch.tensor([self.settings.start], dtype=setting.dtype, device=setting.device)
        return self.linear(setting - start) + self.bend(setting) - self.bend(start)

    @torch.no_grad()
    def inverse(self, chain: Tensor) -> Tensor:
        """The editor's setting ``(B, d)`` in [-1, 1] whose image is nearest ``chain`` ``(B, 12)``.

        Gauss-Newton with a slight pull to the defaults, since some sliders of an editor do nearly the same.
        """
        start = torch.tensor([self.settings.start], dtype=chain.dtype, device=chain.device)
        here = start.expand(len(chain), -1).clone()
        stay = _STAY * torch.eye(here.shape[1], dtype=chain.dtype, device=chain.device)
        for _ in range(_ROUNDS):
            values, slopes = self._linearised(here)
            gradient = torch.einsum("bji,bj->bi", slopes, values - chain) + _STAY * (here - start)
            normal = slopes.transpose(1, 2) @ slopes + stay
            here = (here - torch.linalg.solve(normal, gradient)).clamp(-1, 1)
        return here

    def _linearised(self, setting: Tensor) -> tuple[Tensor, Tensor]:
        """The map and its derivatives ``(B, 12, d)``, by hand: torch's own ways load a compiler, for two seconds."""
        slopes = torch.stack([value_and_slopes(self.bend, row)[1].T for row in setting])
        return self(setting), slopes + self.linear.weight


class MappedResponse(nn.Module):
    """The chain in the place of the editor: a response as of :class:`pixward.policies.response.Response`.

    Tones and colours are the chain's own; its two blurs are taken from the pixel's surroundings as a response sees
    them, which the tone curve moves as it moves the pixel.
    """

    unknown = 0

    def __init__(self, slider_map: SliderMap) -> None:
        super().__init__()
        self.map = slider_map
        self.settings = slider_map.settings

    def forward(self, pixels: Tensor, params: Tensor) -> Tensor:
        """``(pixels (B, N, 7), params (B, d)) -> (B, N, 3)``, as of a response."""
        return chain_response(pixels, self.map(params))

    @torch.no_grad()
    def jacobian(self, pixels: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction ``(N * 3,)`` and its derivatives ``(N * 3, d)`` for one image, by forward-mode differentiation."""

        def render(rows: Tensor) -> Tensor:
            return self(pixels.expand(len(rows), -1, -1), rows).flatten(1)

        values, slopes = _forward_mode(render, params[None])
        return values[0], slopes[0]


def chain_response(pixels: Tensor, setting: Tensor) -> Tensor:
    """``chain:photo`` on pixels with their surroundings: ``(B, N, 7)`` and normalised ``(B, 12)`` to ``(B, N, 3)``."""
    # Not by the space's own map, which clamps to the sliders' ranges: an editor may reach further than the chain.
    half = torch.tensor([(spec.high - spec.low) / 2 for spec in PHOTO_SPACE]).to(setting)
    middle = torch.tensor([(spec.high + spec.low) / 2 for spec in PHOTO_SPACE]).to(setting)
    params = middle + half * setting
    centre = pixels[..., :3]
    fine, wide = centre - pixels[..., 3:6] / 4, centre - pixels[..., 6:7] / 4
    stacked = torch.cat([centre, fine, wide], 1).transpose(1, 2).unsqueeze(2).clamp(0, 1)
    toned = photo_color(photo_tone(stacked, params), params)
    here, near, far = toned.squeeze(2).chunk(3, 2)
    grey = luma(here.unsqueeze(2)).squeeze(2)
    clarity = CLARITY_GAIN / 100 * params[:, 10, None, None]
    sharpness = SHARPNESS_GAIN / 100 * params[:, 11, None, None]
    local = clarity * (grey - luma(far.unsqueeze(2)).squeeze(2)) + sharpness * (
        grey - luma(near.unsqueeze(2)).squeeze(2)
    )
    return (here + local).transpose(1, 2)


def _forward_mode(function: Callable[[Tensor], Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    """``function(rows (B, d)) -> (B, m)`` and its derivatives ``(B, m, d)``, all directions in one pass."""
    batch, size = rows.shape
    directions = torch.eye(size, dtype=rows.dtype, device=rows.device).repeat(batch, 1)
    with forward_ad.dual_level():
        output = function(forward_ad.make_dual(rows.repeat_interleave(size, 0), directions))
        values, slopes = forward_ad.unpack_dual(output)
    if slopes is None:
        slopes = torch.zeros_like(values)
    return values[::size].detach(), slopes.view(batch, size, -1).transpose(1, 2).detach()


class MappedPolicy(nn.Module):
    """The chain's policy as a policy of the editor: it looks at the same pictures, and its sliders go through the map.

    Attributes:
        settings: those of the chain's policy, but with the editor's number of sliders.
    """

    def __init__(self, policy: GoalPolicy | LookPolicy, slider_map: SliderMap) -> None:
        super().__init__()
        self.policy, self.map = policy, slider_map
        self.settings = replace(policy.settings, sliders=slider_map.settings.sliders)

    @torch.no_grad()
    def forward(self, state: State) -> Tensor:
        """The setting ``(B, d)`` in [-1, 1] for a state as :class:`pixward.envs.edit.EditEnv` has it."""
        history = state["history"]
        steps, row = history.shape[1], history.shape[2] - 1
        past = self.map(history[..., :row].reshape(-1, row)).clamp(-1, 1).view(len(history), steps, -1)
        # What has not happened yet is zero in the chain's history too.
        happened = (history.abs().sum(2, keepdim=True) > 0).to(past)
        seen = {
            **state,
            "params": self.map(state["params"]).clamp(-1, 1),
            "history": torch.cat([past * happened, history[..., row:]], 2),
        }
        return self.map.inverse(self.policy(seen))


def load_map(name: str | Path) -> SliderMap:
    """The calibrated map shipped for an editor, or one of your own by its file; errors as of ``load_policy``."""
    tensors, settings = load_weights(name, "map")
    try:
        found = SliderMap(MapSettings(**{**settings, "start": tuple(settings["start"])}))
        found.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{name}: this map fits no editor of this version of pixward: fit it again") from error
    return found.eval()


def describe_map(slider_map: SliderMap) -> dict[str, object]:
    """The settings as plain data, to be saved beside the weights."""
    return asdict(slider_map.settings)
