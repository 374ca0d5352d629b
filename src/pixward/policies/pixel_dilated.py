"""PixelRL's network for system 4: dilated 3x3 convolutions shared by a policy and a value branch, maybe with a ConvGRU.

Furuta, Inoue and Yamasaki, AAAI 2019. The arrangement of the GRU's kernels is ours, and exact: the six of the authors
are two here, which read input and memory at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.policies.pixel_half import initialise


class DilatedNet(nn.Module):
    """What a :class:`pixward.policies.pixel.PixelPolicy` of the design "dilated" decides with.

    Args:
        channels: of the image.
        actions: how many a pixel chooses from.
        condition: planes beside the image.
        width: channels of the hidden layers.
        recurrent: whether the policy branch holds a ConvGRU.
    """

    def __init__(self, channels: int, actions: int, condition: int, width: int, recurrent: bool) -> None:
        super().__init__()
        first = _dilated(channels + condition, width, 1)
        self.shared = nn.ModuleList([first, *(_dilated(width, width, d) for d in (2, 3, 4))])
        self.policy = nn.ModuleList([_dilated(width, width, 3), _dilated(width, width, 2)])
        self.worth = nn.ModuleList([_dilated(width, width, 3), _dilated(width, width, 2), _dilated(width, 1, 1)])
        self.gru = ConvGRU(width) if recurrent else None
        self.head = _dilated(width, actions, 1)
        initialise(self)

    @property
    def reach(self) -> int:
        """How many pixels away something can be and still sway one step."""
        return 16 if self.gru is None else 18

    def look(
        self, image: Tensor, memory: Tensor | None, condition: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the policy's head reads, what the value branch reads, and the memory for the next step.

        No gradient flows from one step to the next through the memory, as in the authors' code.
        """
        x = image if condition is None else torch.cat([image, condition], 1)
        # Channels last: on a CPU half as slow again otherwise.
        x = self.shared[0](x).relu_().contiguous(memory_format=torch.channels_last)
        for layer in self.shared[1:]:
            x = layer(x).relu_()
        p = x
        for layer in self.policy:
            p = layer(p).relu_()
        if self.gru is None:
            return p, x, None
        p = self.gru(p, memory)
        return p, x, p.detach()

    def logits(self, features: Tensor, image: Tensor) -> Tensor:
        """``(B, A, H, W)``."""
        return self.head(features)

    def value(self, features: Tensor, image: Tensor) -> Tensor:
        """``(B, H, W)``."""
        for layer in self.worth[:-1]:
            features = layer(features).relu_()
        return self.worth[-1](features)[:, 0]


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
