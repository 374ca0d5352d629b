"""A learned response of an editor: what a pixel becomes at any setting, known without a render.

One small network per editor, trained on nothing but renders, takes a pixel with its surroundings and all sliders and
returns the rendered pixel. On its own it is a rough proxy (Tseng et al. 2019 optimise through such a network and stop
there). Here it only supplies *derivatives* and predicted differences; real renders correct it (output space mapping,
Bandler et al. 2004), so its error costs renders, and only what was really rendered counts as a result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.params import ParamSpace
from pixward.policies.nets import detail, mlp
from pixward.policies.weights import load_weights


@dataclass(frozen=True)
class ResponseSettings:
    """Shape of a :class:`Response`: ``sliders`` d, hidden ``width`` and ``layers``."""

    sliders: int
    width: int = 128
    layers: int = 3


class Responding(Protocol):
    """What a search asks of a response: :class:`Response`, or another editor that stands in for one.

    Attributes:
        unknown: how many of the last sliders it knows nothing of.
    """

    unknown: int

    @property
    def settings(self) -> Any:
        """Whose ``sliders`` say how many there are."""
        ...

    def __call__(self, pixels: Tensor, params: Tensor) -> Tensor:
        """``(pixels (B, N, 7), params (B, d)) -> (B, N, 3)``."""
        ...

    def jacobian(self, pixels: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction ``(N * 3,)`` and derivatives ``(N * 3, d)`` for one image."""
        ...

    def to(self, device: torch.device) -> Any:
        """As of ``nn.Module``."""
        ...


class Response(nn.Module):
    """``response(pixels (B, N, 7), params (B, d)) -> (B, N, 3)``; ``params`` normalised to [-1, 1].

    ``pixels`` come from :func:`pixel_features`. The setting modulates every hidden layer by a scale and a shift
    (FiLM, Perez et al. 2018), computed once per image, so that a pixel costs the same for any number of sliders.
    """

    unknown = 0

    def __init__(self, settings: ResponseSettings) -> None:
        super().__init__()
        self.settings = settings
        width, layers = settings.width, settings.layers
        self.entry = nn.Linear(7, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(layers - 1))
        self.film = mlp([settings.sliders, 128, 128, 2 * width * layers])
        self.exit = nn.Linear(width, 3)

    def forward(self, pixels: Tensor, params: Tensor) -> Tensor:
        """Predicted values, not clamped: an overshoot tells how deep in the clipping a pixel lies."""
        scales, shifts = self.film(params).unflatten(1, (2, self.settings.layers, 1, -1)).unbind(1)
        hidden = self.entry(pixels)
        for k in range(self.settings.layers):
            if k:
                hidden = self.hidden[k - 1](hidden)
            hidden = F.silu(hidden * (1 + scales[:, k]) + shifts[:, k])
        return self.exit(hidden) + pixels[..., :3]

    @torch.no_grad()
    def jacobian(self, pixels: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction ``(N * 3,)`` and its derivatives ``(N * 3, d)`` for one image, ``pixels (N, 7)``, ``params (d,)``.

        Forward mode by hand: the sliders enter through the modulation alone, so one pass carries all d tangents, and
        no compiler is loaded for it (``torch.func`` takes seconds to import).
        """
        layers, sliders = self.settings.layers, len(params)
        modulation, slopes = value_and_slopes(self.film, params)
        scales, shifts = modulation.unflatten(0, (2, layers, -1)).unbind(0)
        scale_slopes, shift_slopes = slopes.unflatten(1, (2, layers, -1)).unbind(1)
        hidden = self.entry(pixels)
        tangent = hidden.new_zeros(sliders, *hidden.shape)
        for k in range(layers):
            if k:
                weight = self.hidden[k - 1].weight
                hidden, tangent = self.hidden[k - 1](hidden), tangent @ weight.T
            inner = hidden * (1 + scales[k]) + shifts[k]
            moved = tangent * (1 + scales[k]) + hidden * scale_slopes[:, None, k] + shift_slopes[:, None, k]
            gate = torch.sigmoid(inner)
            hidden, tangent = inner * gate, moved * (gate * (1 + inner * (1 - gate)))
        values = self.exit(hidden) + pixels[:, :3]
        return values.flatten(), (tangent @ self.exit.weight.T).flatten(1).T.contiguous()


def value_and_slopes(layers: nn.Sequential, row: Tensor) -> tuple[Tensor, Tensor]:
    """Output ``(m,)`` of linear and SiLU layers at ``row`` ``(d,)``, and its derivatives ``(d, m)``."""
    slopes = torch.eye(len(row), dtype=row.dtype, device=row.device)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            row, slopes = layer(row), slopes @ layer.weight.T
        else:
            gate = torch.sigmoid(row)
            slopes = slopes * (gate * (1 + row * (1 - gate)))
            row = row * gate
    return row, slopes


class SimulatedEditor:
    """A response as an editor: quick, differentiable, and only as true as the response."""

    differentiable = True

    def __init__(self, name: str, space: ParamSpace, response: Responding) -> None:
        self.name, self.space, self.response = name, space, response

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        """``images`` ``(B, 3, H, W)``, ``params`` ``(B, d)`` in slider units, to ``(B, 3, H, W)`` in [0, 1]."""
        pixels = pixel_features(images).flatten(2).transpose(1, 2)
        action = self.space.normalize(params.expand(len(images), -1))
        return self.response(pixels, action).transpose(1, 2).reshape(images.shape).clamp(0, 1)


def pixel_features(image: Tensor) -> Tensor:
    """What a response reads of each pixel, ``(B, 3, H, W)`` to ``(B, 7, H, W)``: its colour and its surroundings."""
    return torch.cat([image, detail(image)], 1)


def load_response(name: str | Path) -> Response:
    """A trained response: the one shipped for an editor or one of your own by its file; see ``load_policy``."""
    tensors, settings = load_weights(name, "response")
    try:
        response = Response(ResponseSettings(**settings))
        response.load_state_dict(tensors)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name}: these weights fit no response of this version of pixward: train it again") from error
    return response.eval()


def describe_response(response: Response) -> dict[str, object]:
    """The settings as plain data, to be saved beside the weights."""
    return asdict(response.settings)
