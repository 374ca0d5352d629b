"""The policy of system 4: a fully convolutional network that picks an operation for every pixel.

PixelRL (Furuta, Inoue and Yamasaki, AAAI 2019): dilated 3x3 convolutions shared by a policy and a value branch; the
policy branch may hold a convolutional GRU. The arrangement of the GRU's kernels is ours, and exact: the six of the
authors are two here, which read input and memory at once.
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
from pixward.ops.pixel import ACTION_SETS, ActionSet
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
        actions: name of the :data:`pixward.ops.pixel.ACTION_SETS` that its outputs stand for.
        recurrent: whether the policy branch holds a ConvGRU.
        horizon: steps in an episode.
        width: channels of the hidden layers.
        sigma: the noise it was trained on, standard deviation on the scale of 0 to 255; None for none or unknown.
        origin: where the weights are from, in a few words.
    """

    actions: str = "restore"
    recurrent: bool = False
    horizon: int = 5
    width: int = 64
    sigma: float | None = None
    origin: str = ""


class PixelPolicy(nn.Module):
    """``policy(image, memory) -> (logits (B, A, H, W), memory)``.

    As a :class:`pixward.types.Policy` it reads a :class:`pixward.envs.pixel.PixelEnv` state: ``image``
    ``(B, C, H, W)`` and, if recurrent, ``memory`` ``(B, width, H, W)``, which counts as zeros where the state has
    none. :meth:`sample` hands the next memory out as ``Action.memory``; no gradient flows from one step to the next
    through it, as in the authors' code.
    """

    def __init__(self, settings: PixelSettings) -> None:
        """Raises ValueError for a set of actions that does not exist."""
        super().__init__()
        if settings.actions not in ACTION_SETS:
            raise ValueError(f"there is no action set {settings.actions!r}; choose from: {', '.join(ACTION_SETS)}")
        self.settings = settings
        self.actions: ActionSet = ACTION_SETS[settings.actions]
        width = settings.width
        self.shared = nn.ModuleList(
            [_dilated(self.actions.channels, width, 1), *(_dilated(width, width, d) for d in (2, 3, 4))]
        )
        self.policy = nn.ModuleList([_dilated(width, width, 3), _dilated(width, width, 2)])
        self.value = nn.ModuleList([_dilated(width, width, 3), _dilated(width, width, 2), _dilated(width, 1, 1)])
        self.gru = ConvGRU(width) if settings.recurrent else None
        self.head = _dilated(width, len(self.actions), 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    @property
    def reach(self) -> int:
        """How many pixels away something can be and still sway one step of the policy, or of its actions."""
        return 18 if self.settings.recurrent else 16

    def forward(self, image: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Logits ``(B, A, H, W)`` and the next memory; the value branch is not computed.

        Args:
            image: ``(B, C, H, W)``, any floats.
            memory: what the step before returned; None before the first step.
        """
        return self._decide(self._trunk(image), memory)

    def sample(self, state: State) -> Action:
        """One action per pixel: value, log-probability and baseline are all ``(B, H, W)``."""
        features = self._trunk(state["image"])
        logits, memory = self._decide(features, state.get("memory"))
        log_probs = F.log_softmax(logits, 1)
        # The largest of logits plus Gumbel noise is a draw from their softmax.
        gumbel = -torch.empty_like(log_probs).exponential_().log()
        value = (log_probs.detach() + gumbel).argmax(1)
        kept = {} if memory is None else {"memory": memory.detach()}
        return Action(value, _picked(log_probs, value), self._baseline(features), kept)

    def evaluate(self, states: State, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability and baseline ``(B, H, W)`` of action maps ``(B, H, W)`` taken earlier."""
        log_probs, baseline = self.log_probs(states)
        return _picked(log_probs, actions), baseline

    def log_probs(self, states: State) -> tuple[Tensor, Tensor]:
        """Log-probability of every action, ``(B, A, H, W)``, and the baseline, ``(B, H, W)``."""
        features = self._trunk(states["image"])
        logits, _ = self._decide(features, states.get("memory"))
        return F.log_softmax(logits, 1), self._baseline(features)

    def _trunk(self, image: Tensor) -> Tensor:
        """What both branches share. Channels last: on a CPU half as slow again otherwise."""
        if self.actions.channels == 3:  # the authors' input for colour: CIE Lab, each channel about [-1, 1]
            image = srgb_to_lab(image) / image.new_tensor([100, 127, 127]).view(1, 3, 1, 1)
        x = self.shared[0](image).relu_().contiguous(memory_format=torch.channels_last)
        for layer in self.shared[1:]:
            x = layer(x).relu_()
        return x

    def _decide(self, x: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
        for layer in self.policy:
            x = layer(x).relu_()
        if self.gru is not None:
            x = memory = self.gru(x, memory)
        return self.head(x), memory

    def _baseline(self, x: Tensor) -> Tensor:
        for layer in self.value[:-1]:
            x = layer(x).relu_()
        return self.value[-1](x)[:, 0]


class ConvGRU(nn.Module):
    """``h' = (1 - z) h + z tanh(W x + U (g h))`` with gates ``z, g = sigmoid(W x + U h)``; 3x3, no biases.

    Attributes:
        gates: kernels of z, then g, each reading x, then h.
        candidate: the kernel of the new memory, reading x, then g h.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.candidate = nn.Conv2d(2 * width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor, memory: Tensor | None) -> Tensor:
        """The next memory, ``(B, width, H, W)`` like ``x``; ``memory`` None stands for zeros."""
        width = x.shape[1]
        if memory is None:  # nothing to forget: neither g nor any U matters
            z = F.conv2d(x, self.gates.weight[:width, :width], padding=1).sigmoid_()
            return F.conv2d(x, self.candidate.weight[:, :width], padding=1).tanh_() * z
        both = torch.cat([x, memory], 1)
        z, g = self.gates(both).sigmoid_().split(width, 1)
        if torch.is_grad_enabled():
            both = torch.cat([x, g * memory], 1)
        else:
            both[:, width:].mul_(g)
        return torch.lerp(memory, self.candidate(both).tanh_(), z)


def _dilated(inputs: int, outputs: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)


def _picked(log_probs: Tensor, actions: Tensor) -> Tensor:
    return log_probs.gather(1, actions.long().unsqueeze(1)).squeeze(1)


def load_pixel_policy(name: str | Path, device: str | torch.device = "cpu") -> PixelPolicy:
    """The policy in the file ``name``, ready to run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that is damaged or holds something else.
    """
    tensors, settings = load_weights(name, KIND)
    try:
        policy = PixelPolicy(PixelSettings(**settings))
        tensors.pop(REWARD_KERNEL, None)
        policy.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} does not fit this version's pixel policy: import or train it again") from None
    return policy.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def save_pixel_policy(path: Path, settings: PixelSettings, tensors: Mapping[str, Tensor]) -> None:
    """Write a policy's ``state_dict``, in single precision: the choice between actions is a matter of small margins."""
    header: dict[str, Any] = asdict(settings)
    save_weights(path, tensors, KIND, header, torch.float32)
