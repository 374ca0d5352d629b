"""The policy of system 4: a fully convolutional network that picks an operation for every pixel.

PixelRL (Furuta, Inoue and Yamasaki, AAAI 2019). Two networks to choose from: the paper's (``dilated``) and one at half
the resolution that costs a fifth (``half``). Either may be told more than the image: planes of a ``condition``, such as
how strong the noise is, or a person's mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.metrics.image import srgb_to_lab
from pixward.objectives import draw_categorical
from pixward.ops.pixel import ACTION_SETS, ActionSet
from pixward.policies.pixel_context import ContextNet
from pixward.policies.pixel_dilated import DilatedNet
from pixward.policies.pixel_half import HalfNet, denoiser_action
from pixward.policies.weights import load_weights, save_weights
from pixward.types import Action, State

KIND = "pixel"
"""What weight files of this policy say they hold."""
REWARD_KERNEL = "reward_kernel"
"""Tensor of a weight file that only training reads: the reward-map convolution, ``(1, 1, 33, 33)``."""


@dataclass(frozen=True)
class PixelSettings:
    """Shape and past of a :class:`PixelPolicy`.

    Attributes:
        actions: name of the :data:`pixward.ops.pixel.ACTION_SETS` that its outputs stand for; "+denoiser" after it
            adds the shipped denoiser as the last action.
        recurrent: whether the policy branch of the dilated network holds a ConvGRU.
        horizon: steps in an episode.
        width: channels of the hidden layers.
        sigma: the noise it was trained on, standard deviation on the scale of 0 to 255; None for none or unknown.
        origin: where the weights are from, in a few words.
        design: "dilated", the paper's network, "half", or "context", which sees the whole scene.
        depth: residual blocks of the half network's encoder.
        foresight: whether the network (not the dilated one) looks at what each action would do.
        remembers: whether the half network's later steps read what its first one encoded.
        condition: planes that the policy reads beside the image.
        noise: (lowest, highest) sigma that its condition plane may name; None where that is not what it means.
    """

    actions: str = "restore"
    recurrent: bool = False
    horizon: int = 5
    width: int = 64
    sigma: float | None = None
    origin: str = ""
    design: str = "dilated"
    depth: int = 5
    foresight: bool = False
    remembers: bool = True
    condition: int = 0
    noise: tuple[float, float] | None = None


class PixelPolicy(nn.Module):
    """``policy(image, memory, condition) -> (logits (B, A, H, W), memory)``.

    As a :class:`pixward.types.Policy` it reads a :class:`pixward.envs.pixel.PixelEnv` state: ``image``
    ``(B, C, H, W)``; ``condition`` ``(B, K, H, W)`` if its settings ask for one; and what went before: ``memory``
    ``(B, width, H, W)``, zeros where the state has none, for a recurrent one, ``first``, the image before the first
    step, for the half network. :meth:`sample` hands the next memory of a recurrent one out as ``Action.memory``.
    """

    def __init__(self, settings: PixelSettings) -> None:
        """Raises ValueError for a set of actions or a design that does not exist."""
        super().__init__()
        self.settings = settings
        self.actions: ActionSet = action_set(settings.actions)
        shape = (self.actions.channels, len(self.actions), settings.condition, settings.width)
        self.net: DilatedNet | HalfNet | ContextNet
        if settings.design == "dilated":
            self.net = DilatedNet(*shape, settings.recurrent)
        elif settings.design == "half":
            self.net = HalfNet(*shape, settings.depth, settings.foresight, settings.remembers)
        elif settings.design == "context":
            self.net = ContextNet(*shape, settings.foresight)
        else:
            raise ValueError(f"there is no design {settings.design!r}; choose from: dilated, half, context")

    @property
    def reach(self) -> int | None:
        """How many pixels away something can be and still sway one step of the policy, or of its actions.

        None where that may be the whole picture.
        """
        return None if self.net.reach is None else max(self.net.reach, self.actions.reach)

    def forward(
        self, image: Tensor, memory: Tensor | None = None, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Logits ``(B, A, H, W)`` and the next memory; the value branch is not computed.

        Args:
            image: ``(B, C, H, W)``, any floats.
            memory: what the step before returned; None before the first step.
            condition: ``(B, K, H, W)``, the same at every step.

        Raises:
            ValueError: another number of condition planes than the settings say.
        """
        shown = self._shown(image, condition)
        features, _, memory = self.net.look(shown, memory, condition)
        return self._logits(features, memory, (image, shown, condition)), memory

    def distribution(self, state: State, memory: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Log-probability of every action ``(B, A, H, W)``, the baseline ``(B, H, W)``, and the next memory.

        ``memory`` is what the step before returned in this very episode, gradients and all; None before the first.
        """
        condition = state.get("condition")
        shown = self._shown(state["image"], condition)
        features, others, memory = self.net.look(shown, memory, condition)
        logits = self._logits(features, memory, (state["image"], shown, condition))
        return F.log_softmax(logits, 1), self.net.value(others, shown), memory

    def _logits(self, features: Tensor, memory: Tensor | None, seen: tuple[Tensor, Tensor, Tensor | None]) -> Tensor:
        image, shown, condition = seen
        logits = self.net.logits(features, shown)
        if not self.settings.foresight or isinstance(self.net, DilatedNet) or memory is None:
            return logits
        with torch.no_grad():
            outcomes = [self._shown(action(image, condition), condition) for action in self.actions.actions]
        return logits + self.net.gains(shown, memory, torch.stack(outcomes, 1))

    def sample(self, state: State) -> Action:
        """One action per pixel: value, log-probability and baseline are all ``(B, H, W)``."""
        log_probs, baseline, memory = self.distribution(state, self._remembered(state))
        value = draw_categorical(log_probs)
        kept = {"memory": memory.detach()} if self.settings.recurrent and memory is not None else {}
        return Action(value, _picked(log_probs, value), baseline, kept)

    def evaluate(self, states: State, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability and baseline ``(B, H, W)`` of action maps ``(B, H, W)`` taken earlier."""
        log_probs, baseline = self.log_probs(states)
        return _picked(log_probs, actions), baseline

    def log_probs(self, states: State) -> tuple[Tensor, Tensor]:
        """Log-probability of every action, ``(B, A, H, W)``, and the baseline, ``(B, H, W)``."""
        log_probs, baseline, _ = self.distribution(states, self._remembered(states))
        return log_probs, baseline

    def _remembered(self, state: State) -> Tensor | None:
        if isinstance(self.net, DilatedNet):
            return state.get("memory")
        if "first" not in state:
            return None
        condition = state.get("condition")
        first = self._shown(state["first"], condition)
        return self.net.look(first, None, condition)[2]

    def _shown(self, image: Tensor, condition: Tensor | None) -> Tensor:
        planes = 0 if condition is None else condition.shape[1]
        if planes != self.settings.condition:
            raise ValueError(f"the policy reads {self.settings.condition} condition planes, got {planes}")
        if self.actions.channels == 3:  # the authors' input for colour: CIE Lab, each channel about [-1, 1]
            # Half precision would round away what a small step of colour changes.
            with torch.autocast(image.device.type, enabled=False):
                return srgb_to_lab(image) / image.new_tensor([100, 127, 127]).view(1, 3, 1, 1)
        return image


def action_set(name: str) -> ActionSet:
    """The set of :data:`pixward.ops.pixel.ACTION_SETS` by name; "+denoiser" adds the shipped denoiser.

    Raises:
        ValueError: there is none of that name.
    """
    plain, plus, _ = name.partition("+denoiser")
    if plain not in ACTION_SETS:
        raise ValueError(f"there is no action set {name!r}; choose from: {', '.join(ACTION_SETS)}")
    actions = ACTION_SETS[plain]
    if not plus:
        return actions
    return ActionSet(name, actions.channels, (*actions.actions, denoiser_action()))


def _picked(log_probs: Tensor, actions: Tensor) -> Tensor:
    return log_probs.gather(1, actions.long().unsqueeze(1)).squeeze(1)


def load_pixel_policy(name: str | Path, device: str | torch.device = "cpu") -> PixelPolicy:
    """The policy of that name that ships with pixward, or the one in that file, ready to run.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: a file that is damaged or holds something else.
    """
    tensors, settings = load_weights(name, KIND)
    try:
        noise = settings.get("noise")
        policy = PixelPolicy(PixelSettings(**{**settings, "noise": None if noise is None else tuple(noise)}))
        tensors.pop(REWARD_KERNEL, None)
        policy.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} does not fit this version's pixel policy: import or train it again") from None
    return policy.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def save_pixel_policy(
    path: Path, settings: PixelSettings, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32
) -> None:
    """Write a policy's ``state_dict``.

    Single precision unless said otherwise: the choice between actions is a matter of small margins.
    """
    header: dict[str, Any] = asdict(settings)
    save_weights(path, tensors, KIND, header, dtype)
