"""The goal-conditioned policy: looks at the photo, its current render and the goal, and sets every slider.

After RLPixTuner (NeurIPS 2024, section 3.2): dual-path features, photo statistics of render and goal, and the history
of past actions and distances; docs/results/edit.md has an ablation of the three. Two things differ from the paper, and
neither has been ablated by itself. The local path reads single pixels (photo, render and goal are aligned, so each
pixel is one equation about the sliders) instead of 8x8 feature maps. And the decision is a correction whose size
follows the distance that is left, so that a good setting gets better instead of being guessed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.policies.nets import detail, draw_gaussian, grid_points, mlp, photo_statistics, score_gaussian
from pixward.policies.weights import load_weights
from pixward.types import Action, State

FEATURES = ("local", "global", "statistics", "history")
"""What a policy can look at; leave some out for an ablation."""


@dataclass(frozen=True)
class GoalSettings:
    """Shape of a :class:`GoalPolicy`.

    Attributes:
        sliders: size of the action, d.
        horizon: decisions in an episode, T.
        features: which of :data:`FEATURES` it sees.
        width: units of the hidden layers of the head.
        points: side of the grid of pixels that the local path and the statistics read.
        noise: standard deviation of the exploration that :meth:`GoalPolicy.sample` adds.
    """

    sliders: int
    horizon: int = 10
    features: tuple[str, ...] = FEATURES
    width: int = 512
    points: int = 24
    noise: float = 0.1


class Horizon(Protocol):
    """What a search asks of a policy's settings."""

    @property
    def sliders(self) -> int:
        """Size of its action."""
        ...

    @property
    def horizon(self) -> int:
        """Decisions in an episode."""
        ...


class Deciding(Protocol):
    """What a search asks of a policy: :class:`GoalPolicy`, or one that another editor's policy stands behind."""

    @property
    def settings(self) -> Horizon:
        """Its sliders and its horizon."""
        ...

    def __call__(self, state: State) -> Tensor:
        """The setting of all sliders, ``(B, d)`` in [-1, 1]."""
        ...

    def to(self, device: torch.device) -> Any:
        """As of ``nn.Module``."""
        ...


class GoalPolicy(nn.Module):
    """``policy(state) -> (B, d)``, an absolute setting of all sliders, normalised to [-1, 1].

    ``state`` is :class:`pixward.envs.edit.EditEnv`'s. The mean action is deterministic; :meth:`sample` and
    :meth:`evaluate` treat it as the mean of a Gaussian, for trainers that need a density.
    """

    def __init__(self, settings: GoalSettings) -> None:
        """Raises ValueError for a feature that does not exist."""
        super().__init__()
        self.settings = settings
        d = settings.sliders
        self.paths = build_paths(settings)
        inside = read_size(settings)
        self.head = mlp([inside, settings.width, settings.width, d])
        # Start close to "leave the sliders where they are".
        last = list(self.head.parameters())[-2:]
        nn.init.normal_(last[0], std=1e-3)
        nn.init.zeros_(last[1])

    def correction(self, state: State) -> Tensor:
        """The unclamped next setting ``(B, d)``: the current one plus a step as large as the distance left allows."""
        seen, flat = read_state(self.paths, self.settings, state)
        reach = (6 * flat).clamp(0.01, 1)
        return state["params"] + reach * 2 * torch.tanh(self.head(seen))

    def forward(self, state: State) -> Tensor:
        """The setting to try next, ``(B, d)`` in [-1, 1]."""
        return self.correction(state).clamp(-1, 1)

    def sample(self, state: State) -> Action:
        """The setting plus Gaussian exploration; environments clamp it, so that the density stays a Gaussian's."""
        return draw_gaussian(self(state), self.settings.noise)

    def evaluate(self, states: State, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability ``(B,)`` of ``actions`` under :meth:`sample`, and a zero baseline."""
        return score_gaussian(self(states), self.settings.noise, actions)


class GoalCritic(nn.Module):
    """``critic(state, action) -> (B,)``: the return to expect, in dB, for TD3. Sees what the policy sees."""

    def __init__(self, settings: GoalSettings) -> None:
        super().__init__()
        self.settings = settings
        self.paths = build_paths(settings)
        self.head = mlp([read_size(settings) + 2 * settings.sliders, settings.width, settings.width, 1])

    def forward(self, state: State, action: Tensor) -> Tensor:
        """``action`` ``(B, d)`` in [-1, 1]; its distance from the current setting is shown in units of the reach."""
        seen, rms = read_state(self.paths, self.settings, state)
        step = (action - state["params"]) / (6 * rms).clamp(0.01, 1)
        return self.head(torch.cat([seen, action, step], 1)).squeeze(1)


def build_paths(settings: GoalSettings) -> nn.ModuleDict:
    """The networks behind ``settings.features``; ValueError as by :func:`check_features`."""
    check_features(settings.features)
    paths: dict[str, nn.Module] = {
        "local": LocalPath(settings.sliders),
        "global": GlobalPath(),
        "statistics": nn.Sequential(nn.Linear(2 * 100, 128), nn.SiLU()),
        "history": nn.Sequential(nn.Linear(settings.horizon * (settings.sliders + 1), 64), nn.SiLU()),
    }
    return nn.ModuleDict({name: paths[name] for name in settings.features})


def check_features(features: Sequence[str]) -> None:
    """ValueError unless each of ``features`` is one of :data:`FEATURES`, named once."""
    unknown = sorted(set(features) - set(FEATURES))
    if unknown:
        raise ValueError(f"unknown feature {', '.join(unknown)}; known are {', '.join(FEATURES)}")
    if len(set(features)) < len(features):
        raise ValueError(f"a feature is named twice: {', '.join(features)}")


def read_size(settings: GoalSettings) -> int:
    """Width of what :func:`read_state` returns."""
    sizes = {"local": LocalPath.size, "global": GlobalPath.size, "statistics": 128, "history": 64}
    return sum(sizes[name] for name in settings.features) + settings.sliders + 2


def read_state(paths: nn.ModuleDict, settings: GoalSettings, state: State) -> tuple[Tensor, Tensor]:
    """All that the features see, ``(B, read_size)``, and the RMS distance from render to goal, ``(B, 1)``."""
    gap = state["goal"] - state["image"]
    rms = gap.pow(2).mean((1, 2, 3), keepdim=True).sqrt()
    direction = gap / (rms + 1e-3)
    flat = rms.flatten(1)
    seen = [state["params"], state["step"][:, None] / settings.horizon, (flat + 1e-3).log() / 3]
    if "local" in paths:
        seen.append(paths["local"](state, direction, settings.points))
    if "global" in paths:
        seen.append(paths["global"](state, direction))
    if "statistics" in paths:
        both = [photo_statistics(grid_points(state[name], settings.points)) for name in ("image", "goal")]
        seen.append(paths["statistics"](torch.cat(both, 1)))
    if "history" in paths:
        seen.append(paths["history"](state["history"].flatten(1)))
    return torch.cat(seen, 1), flat


class LocalPath(nn.Module):
    """One small network over single pixels, pooled: what each pixel says about the sliders.

    The second half of the features is weighted by the pixel's own residual before pooling, so that the pooled vector
    can hold a learnt gradient, sum over pixels of (d render / d slider) times residual.
    """

    width, gated = 96, 32
    size = width + 3 * gated

    def __init__(self, sliders: int) -> None:
        super().__init__()
        self.pixel = nn.Linear(24, self.width)
        self.setting = nn.Linear(sliders, self.width)
        self.mix = nn.Linear(self.width, self.width + self.gated)

    def forward(self, state: State, direction: Tensor, points: int) -> Tensor:
        """Pooled features ``(B, size)``; ``direction`` is the residual divided by its root mean square."""
        source, image, goal = state["source"], state["image"], state["goal"]
        maps = torch.cat([source, image, goal, direction, detail(source), detail(image), detail(goal)], 1)
        pixels = grid_points(maps, points)
        hidden = F.relu(self.pixel(pixels) + self.setting(state["params"])[:, None])
        mixed = F.relu(self.mix(hidden))
        plain, gate = mixed.split([self.width, self.gated], 2)
        weighted = gate.transpose(1, 2) @ pixels[..., 9:12] / pixels.shape[1]
        return torch.cat([plain.mean(1), weighted.flatten(1) * 4], 1)


class GlobalPath(nn.Module):
    """A small convolutional network over the reduced pictures: what the scene looks like."""

    size = 128

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *[nn.Conv2d(12, 32, 3, 2, 1), nn.SiLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.SiLU()],
            *[nn.Conv2d(64, 64, 3, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(64 * 16, self.size), nn.SiLU()],
        )

    def forward(self, state: State, direction: Tensor) -> Tensor:
        """Features ``(B, size)``."""
        maps = torch.cat([state["source"], state["image"], state["goal"], direction], 1)
        return self.layers(F.adaptive_avg_pool2d(maps, 32))


def load_policy(name: str | Path) -> GoalPolicy:
    """A trained policy: the one shipped for an editor ("chain:photo") or one of your own by its file.

    Raises:
        FileNotFoundError: none ships for that editor and no such file exists.
        ValueError: the file is damaged, holds something else, or comes from another version of pixward.
    """
    tensors, settings = load_weights(name, "policy")
    try:
        policy = GoalPolicy(GoalSettings(**{**settings, "features": tuple(settings["features"])}))
        policy.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{name}: these weights fit no policy of this version of pixward: train it again") from error
    return policy.eval()


def describe_policy(policy: GoalPolicy) -> dict[str, object]:
    """The settings as plain data, to be saved beside the weights."""
    return asdict(policy.settings)
