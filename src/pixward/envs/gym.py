"""Any environment of ours as a ``gymnasium.Env``, for trainers that come from elsewhere.

::

    observation = flat_observation(env.reset(tasks(np.random.default_rng(0))), side=8, horizon=env.horizon)
    model = stable_baselines3.TD3("MlpPolicy", GymEnv(env, tasks, observation, action_size=9))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pixward.types import Env, State

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:
    raise ImportError("the gymnasium adapter needs gymnasium: pip install 'pixward[train]'") from error

Tasks = Callable[[np.random.Generator], State]
"""Draws one task, a batch of one, with the generator it is given."""


@dataclass(frozen=True)
class Observation:
    """What a gymnasium agent sees.

    Attributes:
        space: the space that ``read`` answers in.
        read: from a state of ours, a batch of one, to an observation.
    """

    space: spaces.Space[Any]
    read: Callable[[State], Any]


def flat_observation(example: State, side: int, horizon: int) -> Observation:
    """One vector in [-1, 1]: goal and image pooled to ``side`` x ``side``, sliders, and the share of steps taken.

    For MLP policies. ``example`` is any state of :class:`pixward.envs.edit.EditEnv`; ``horizon`` is its horizon.
    """

    def read(state: State) -> np.ndarray:
        pictures = [2 * nn.functional.adaptive_avg_pool2d(state[key], side).flatten() - 1 for key in ("goal", "image")]
        vector = torch.cat([*pictures, state["params"].flatten(), state["step"] / horizon])
        return vector.clamp(-1, 1).cpu().numpy().astype(np.float32)

    return Observation(spaces.Box(-1.0, 1.0, read(example).shape, np.float32), read)


def dict_observation(example: State, horizon: int) -> Observation:
    """Pictures as ``uint8`` ``(3, H, W)``, sliders, share of steps taken and the flat history.

    For policies with several inputs (stable-baselines3: ``MultiInputPolicy``, whose convolutions want 36 pixels or
    more). ``example`` is any state of :class:`pixward.envs.edit.EditEnv`; ``horizon`` is its horizon.
    """

    def read(state: State) -> dict[str, np.ndarray]:
        seen = {key: (state[key][0] * 255).round().to(torch.uint8) for key in ("goal", "image")}
        seen["params"] = state["params"][0].clamp(-1, 1)
        seen["step"] = state["step"] / horizon
        seen["history"] = state["history"].flatten()
        return {key: value.cpu().numpy() for key, value in seen.items()}

    first = read(example)
    box: dict[str, spaces.Space[Any]] = {}
    for key, value in first.items():
        # A picture's range is 0 to 255: that is how stable-baselines3 knows it for one.
        dtype: Any = value.dtype
        low, high = (0, 255) if dtype == np.uint8 else (-1, 1)
        box[key] = spaces.Box(low, high, value.shape, dtype)
    return Observation(spaces.Dict(box), read)


class GymEnv(gymnasium.Env[Any, np.ndarray]):
    """One task at a time, actions in [-1, 1], an episode of exactly ``env.horizon`` steps.

    The horizon is part of the task, so its end is ``terminated``, not ``truncated``: no agent should bootstrap there.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012 - gymnasium's own way

    def __init__(
        self, env: Env, tasks: Tasks, observation: Observation, action_size: int, render_mode: str | None = None
    ) -> None:
        """Wrap ``env``, whose actions are ``(B, action_size)`` and whose rewards are ``(B,)``."""
        self.env, self.tasks, self.observation = env, tasks, observation
        self.observation_space = observation.space
        self.action_space = spaces.Box(-1.0, 1.0, (action_size,), np.float32)
        self.render_mode = render_mode
        self._state: State | None = None
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw a task; the same seed draws the same one."""
        super().reset(seed=seed)
        self._state, self._steps = self.env.reset(self.tasks(self.np_random)), 0
        return self.observation.read(self._state), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one action ``(action_size,)``; the reward is in the wrapped environment's own unit."""
        if self._state is None:
            raise RuntimeError("call reset before step")
        device = next(iter(self._state.values())).device
        value = torch.as_tensor(np.asarray(action), dtype=torch.float32, device=device)[None]
        self._state, reward = self.env.step(self._state, value)
        self._steps += 1
        return self.observation.read(self._state), float(reward[0]), self._steps >= self.env.horizon, False, {}

    def render(self) -> np.ndarray | None:
        """The newest picture, ``(H, W, 3)`` uint8."""
        if self._state is None or self.render_mode != "rgb_array":
            return None
        picture = (self.env.image(self._state)[0].clamp(0, 1) * 255).round().to(torch.uint8)
        return picture.permute(1, 2, 0).cpu().numpy()
