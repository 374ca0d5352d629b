"""The policy for looks: sees the photo and a picture of another scene, and sets the sliders that made that look.

For a goal that shows the photo itself every pixel is an equation. Here there is none: the colours of the reference are
its scene's and its maker's, and only what photos usually look like tells them apart. So this policy is an estimate:
trained on scenes with a hidden setting (:mod:`pixward.commands.look_training`), it says which setting comes nearest on
average to what was done to the reference, given both pictures. Matching distributions, as colour transfer and searches
do, has no such idea of what belongs to the scene.

RLPixTuner (NeurIPS 2024, section 4.3) minimises a style score instead; its features are the paper's photo statistics,
a global path and the history, without the pyramid of the aligned goal.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.errors import PixwardError
from pixward.image import resize_to
from pixward.policies.nets import draw_gaussian, grid_points, mlp, photo_statistics, score_gaussian
from pixward.policies.weights import find_weights, load_weights
from pixward.rewards.look import COARSE, FEATURES, look_features
from pixward.types import Action, State

_PICTURES = ("source", "image", "goal")
_LIFT = 8.0
"""Look features are small, so that their squares add up to a distance; a network wants numbers around 1."""


@dataclass(frozen=True)
class LookSettings:
    """Shape of a :class:`LookPolicy`.

    Attributes:
        sliders: size of the action, d.
        horizon: decisions in an episode, T.
        width: units of the hidden layers of the head.
        side: pixels on the shorter side of the pictures that it reads; larger ones are reduced.
        scene: size of what the convolutional network says of a picture.
        dropout: share of that left out in training, so that scenes are not learnt by heart.
        noise: standard deviation of the exploration that :meth:`LookPolicy.sample` adds.
    """

    sliders: int
    horizon: int = 10
    width: int = 512
    side: int = 48
    scene: int = 96
    dropout: float = 0.2
    noise: float = 0.05


class LookPolicy(nn.Module):
    """``policy(state) -> (B, d)``, an absolute setting of all sliders, normalised to [-1, 1].

    ``state`` is :class:`pixward.envs.look.LookEnv`'s; its pictures may be of any size, the reference of its own.
    """

    def __init__(self, settings: LookSettings) -> None:
        super().__init__()
        self.settings = settings
        self.eyes = LookEyes(settings)
        self.head = mlp([self.eyes.size, settings.width, settings.width, settings.sliders])
        # Start close to "leave the sliders where they are".
        last = list(self.head.parameters())[-2:]
        nn.init.normal_(last[0], std=1e-3)
        nn.init.zeros_(last[1])

    def correction(self, state: State) -> Tensor:
        """The unclamped next setting ``(B, d)``."""
        return state["params"] + 2 * torch.tanh(self.head(self.eyes(state)))

    def forward(self, state: State) -> Tensor:
        """The setting to try next, ``(B, d)`` in [-1, 1]."""
        return self.correction(state).clamp(-1, 1)

    def sample(self, state: State) -> Action:
        """The setting plus Gaussian exploration; environments clamp it, so that the density stays a Gaussian's."""
        return draw_gaussian(self(state), self.settings.noise)

    def evaluate(self, states: State, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability ``(B,)`` of ``actions`` under :meth:`sample`, and a zero baseline."""
        return score_gaussian(self(states), self.settings.noise, actions)


class LookCritic(nn.Module):
    """``critic(state, action) -> (B,)``: the return to expect, for TD3. Sees what the policy sees."""

    def __init__(self, settings: LookSettings) -> None:
        super().__init__()
        self.eyes = LookEyes(settings)
        self.head = mlp([self.eyes.size + settings.sliders, settings.width, settings.width, 1])

    def forward(self, state: State, action: Tensor) -> Tensor:
        """``action`` ``(B, d)`` in [-1, 1]."""
        return self.head(torch.cat([self.eyes(state), action], 1)).squeeze(1)


class LookEyes(nn.Module):
    """What policy and critic see of a state: scenes, statistics and what was tried, ``(B, size)``."""

    def __init__(self, settings: LookSettings) -> None:
        super().__init__()
        self.settings = settings
        statistics = len(_PICTURES) * (100 + FEATURES)
        self.scene = SceneNetwork(settings.scene)
        self.forget = nn.Dropout(settings.dropout)
        self.statistics = nn.Sequential(nn.Linear(statistics, 256), nn.SiLU())
        self.history = nn.Sequential(nn.Linear(settings.horizon * (settings.sliders + 1), 32), nn.SiLU())
        self.size = len(_PICTURES) * settings.scene + 256 + 32 + settings.sliders + 1

    def forward(self, state: State) -> Tensor:
        """Features of ``state``."""
        pictures = [reduced(state[name], self.settings.side) for name in _PICTURES]
        scenes = [self.forget(self.scene(picture)) for picture in pictures]
        numbers = []
        for picture in pictures:
            numbers += [photo_statistics(grid_points(picture, 2 * COARSE)), look_features(picture, COARSE) * _LIFT]
        return torch.cat(
            [
                *scenes,
                self.statistics(torch.cat(numbers, 1)),
                self.history(state["history"].flatten(1)),
                state["params"],
                state["step"][:, None] / self.settings.horizon,
            ],
            1,
        )


class SceneNetwork(nn.Module):
    """A small convolutional network: what a picture shows, ``(B, 3, H, W)`` to ``(B, size)``."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *[nn.Conv2d(3, 32, 3, 2, 1), nn.SiLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.SiLU()],
            *[nn.Conv2d(64, 64, 3, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(64 * 16, size), nn.SiLU()],
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Features ``(B, size)``; the picture is squeezed to 32 x 32."""
        return self.layers(F.adaptive_avg_pool2d(picture, 32) - 0.5)


def reduced(picture: Tensor, side: int) -> Tensor:
    """``picture`` ``(B, 3, H, W)`` with its shorter side at most ``side``: local contrast is read at one scale."""
    height, width = picture.shape[-2:]
    scale = side / min(height, width)
    return picture if scale >= 1 else resize_to(picture, (round(height * scale), round(width * scale)))


def load_look(name: str | Path) -> LookPolicy | None:
    """The policy for looks that ships for an editor ("chain:photo"), or that of a run folder; None if there is none.

    Raises:
        PixwardError: the folder holds none; damaged weights.
    """
    where = str(name / "look.safetensors") if isinstance(name, Path) else name
    if find_weights(where, "look") is None:
        if isinstance(name, Path):
            raise PixwardError(f"{name} holds no look.safetensors: train one with pixward train edit --algorithm look")
        return None
    try:
        tensors, settings = load_weights(where, "look")
        policy = LookPolicy(LookSettings(**settings))
        policy.load_state_dict(tensors)
    except ValueError as error:
        raise PixwardError(str(error)) from None
    except (TypeError, RuntimeError):
        raise PixwardError(f"{where}: these weights fit no policy of this version of pixward: train it again") from None
    return policy.eval()


def describe_look(policy: LookPolicy) -> dict[str, object]:
    """The settings as plain data, to be saved beside the weights."""
    return asdict(policy.settings)
