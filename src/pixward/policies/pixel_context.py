"""A network for system 4 that sees the whole picture at a small size, and every pixel by itself at full size.

For edits whose sense lies in the scene, such as what is foreground: no convolution that one can afford reaches that far
at full resolution. A small pyramid reads the picture reduced to a fixed size (as HDRnet does: Gharbi et al., TOG 2017),
what it found is brought back to full size without edges, and two 1x1 layers join it with each pixel's own colour, which
has the edges. That is done once, before the first step, and kept as the memory of the episode; a step joins memory and
present colour pixel by pixel, so that ten steps cost little more than one.

With foresight the network guesses once what the picture should become, and prefers actions whose next image, which it
is shown, comes nearer to the guess, as :mod:`pixward.policies.pixel_half` does with another distance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.policies.pixel_half import fold, initialise

SCENE = 64
"""The shorter side of what the pyramid sees, in pixels; smaller pictures are seen as they are."""
FOUND = 24
"""Channels that the pyramid hands to every pixel."""
KEEN = 2.0
"""How much a logit grows per unit of Lab distance that an action is expected to gain, at the start of training."""
LAB = (100.0, 127.0, 127.0)
"""What colour policies divide CIE Lab by."""


class ContextEncoder(nn.Module):
    """``encoder(image (B, C, H, W), condition (B, K, H, W)) -> (B, width, H, W)``."""

    def __init__(self, channels: int, condition: int, width: int) -> None:
        super().__init__()
        planes = channels + condition
        self.fine = _conv(4 * planes, 32)
        self.middle = nn.ModuleList([_conv(32, 48, stride=2), _conv(48, 48)])
        self.coarse = nn.ModuleList([_conv(48, 64, stride=2), _conv(64, 64)])
        self.everywhere = nn.Linear(64, 64)
        self.up_middle = _conv(64 + 48, 48)
        self.up_fine = _conv(48 + 32, FOUND)
        self.pixel = nn.ModuleList([_point(FOUND + planes, width), _point(width, width)])
        initialise(self)

    def forward(self, image: Tensor, condition: Tensor | None) -> Tensor:
        """What each pixel knows of itself and of the scene, after the last ReLU."""
        return self.join(image, condition, _enlarged(self.scene(image, condition), image))

    def join(self, image: Tensor, condition: Tensor | None, found: Tensor) -> Tensor:
        """The same for a picture or a part of one, with what was found in the scene there, ``(B, FOUND, H, W)``."""
        x = torch.cat([found, _planes(image, condition)], 1)
        for layer in self.pixel:
            x = layer(x).relu_()
        return x

    def scene(self, image: Tensor, condition: Tensor | None) -> Tensor:
        """What the pyramid finds in the reduced picture, ``(B, FOUND, h, w)``."""
        half = self.fine(fold(_reduced(_planes(image, condition)))).relu_()
        quarter = _through(self.middle, half)
        eighth = _through(self.coarse, quarter)
        eighth = eighth + self.everywhere(eighth.mean((2, 3)))[:, :, None, None]
        quarter = self.up_middle(torch.cat([_enlarged(eighth, quarter), quarter], 1)).relu_()
        return self.up_fine(torch.cat([_enlarged(quarter, half), half], 1)).relu_()


class ContextRegressor(nn.Module):
    """A supervised editor with the same encoder: ``regressor(image) -> image``, both ``(B, C, H, W)``, in any space.

    What a policy may start from, as PixelRL's authors start their colour policy from a regressor; and its control.
    """

    def __init__(self, channels: int = 3, width: int = 32) -> None:
        super().__init__()
        self.encoder = ContextEncoder(channels, 0, width)
        self.out = _point(width, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """The image as it should become; nothing is clipped."""
        return image + self.out(self.encoder(image, None))


class ContextNet(nn.Module):
    """What a :class:`pixward.policies.pixel.PixelPolicy` of the design "context" decides with.

    Args:
        channels: of the image.
        actions: how many a pixel chooses from.
        condition: planes beside the image, such as a mask.
        width: channels of what a pixel remembers.
        foresight: whether it looks at what the actions would do.
    """

    reach = None
    """Any pixel may sway any other: such a policy has to see the whole picture at once."""

    def __init__(self, channels: int, actions: int, condition: int, width: int, foresight: bool = False) -> None:
        super().__init__()
        self.width = width
        self.encoder = ContextEncoder(channels, condition, width)
        self.mix = _point(width + channels * (2 if foresight else 1), 48)
        self.body = _point(48, 48)
        self.head = _point(48, actions)
        self.worth = _point(48, 1)
        for layer in (self.mix, self.body, self.head, self.worth):
            initialise(layer)
        self.out = _point(width, channels) if foresight else None
        if self.out is not None:
            for layer in (self.out, self.head):  # begins with no guess but the image, and no opinion beside the gain
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            self.keen = nn.Parameter(torch.tensor(KEEN).log())

    def look(self, image: Tensor, memory: Tensor | None, condition: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What the policy's head reads, what the value's head reads, and the memory for the next step.

        The memory, ``(B, width, H, W)`` and the guess after it, is what the encoder made of the first image.
        """
        if memory is None:
            memory = self._memory(image, self.encoder(image, condition))
        x = self.mix(torch.cat([memory, image], 1)).relu_()
        x = self.body(x).relu_()
        return x, x, memory

    def remember(
        self, image: Tensor, condition: Tensor | None, scene: Tensor, area: tuple[slice, slice], size: tuple[int, int]
    ) -> Tensor:
        """The memory of one part of a large picture, ``(B, width, h, w)``: with it, :meth:`look` needs nothing else.

        Args:
            image: the part.
            condition: of that part.
            scene: what ``encoder.scene`` found in the whole picture.
            area: rows and columns of the part.
            size: height and width of the whole.
        """
        return self._memory(image, self.encoder.join(image, condition, _enlarged_part(scene, area, size)))

    def _memory(self, image: Tensor, seen: Tensor) -> Tensor:
        return seen.float() if self.out is None else torch.cat([seen.float(), image + self.out(seen)], 1)

    def logits(self, features: Tensor, image: Tensor) -> Tensor:
        """``(B, A, H, W)``; with foresight only what is added to :meth:`gains`."""
        return self.head(features)

    def gains(self, image: Tensor, memory: Tensor, outcomes: Tensor) -> Tensor:
        """What it expects each action to gain, as logits ``(B, A, H, W)``; outcomes are ``(B, A, C, H, W)``.

        Distances are Euclidean; in CIE Lab, which colour policies read divided by :data:`LAB`, those of the reward.
        """
        guess = memory[:, self.width :].float()
        before, after = _distance(guess, image), _distance(guess.unsqueeze(1), outcomes)
        return self.keen.exp() * (before.unsqueeze(1) - after)

    def value(self, features: Tensor, image: Tensor) -> Tensor:
        """``(B, H, W)``. It learns from what the policy sees and teaches it nothing: its errors are far larger."""
        return self.worth(features.detach())[:, 0]


def _distance(first: Tensor, second: Tensor) -> Tensor:
    """Over the last axis but two. The small number keeps the slope finite where two colours are equal."""
    unit = first.new_tensor(LAB if first.shape[-3] == 3 else (100.0,)).view(-1, 1, 1)
    return ((first - second) * unit).square().sum(-3).add(1e-3).sqrt()


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


def _point(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1)


def _through(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x).relu_()
    return x


def _reduced(planes: Tensor) -> Tensor:
    height, width = planes.shape[2:]
    share = SCENE / min(height, width)
    if share >= 1:
        return planes
    size = (max(1, round(height * share)), max(1, round(width * share)))
    return F.interpolate(planes, size, mode="bilinear", antialias=True)


def _planes(image: Tensor, condition: Tensor | None) -> Tensor:
    return image if condition is None else torch.cat([image, condition], 1)


def _enlarged_part(x: Tensor, area: tuple[slice, slice], size: tuple[int, int]) -> Tensor:
    """The part ``area`` of ``x`` enlarged to ``size``, without enlarging the rest."""
    places = [
        (torch.arange(part.start, part.stop, device=x.device, dtype=x.dtype) + 0.5) / length * 2 - 1
        for part, length in zip(area, size, strict=True)
    ]
    rows, columns = torch.meshgrid(*places, indexing="ij")
    grid = torch.stack([columns, rows], -1).expand(x.shape[0], -1, -1, -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)
