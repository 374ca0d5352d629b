"""A network for system 4 that works at half the resolution, and a denoiser with the same encoder.

Every 2 x 2 block of pixels becomes one place with four times the channels, as in FFDNet (Zhang, Zuo and Zhang, TIP
2018): a quarter of the work per layer, twice the reach. What the first step saw is encoded once and kept as the memory
of the episode; each step then reads it beside the image as it is now. Five steps cost a fifth of PixelRL's network.

With foresight the network guesses the clean image, and prefers actions whose next image, which it is shown, comes
nearer to the guess: the expected gain of action ``a`` is ``255 ((g - x)^2 - (g - x_a)^2)``, since what the guess does
not know cancels out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.ops.pixel import PixelAction
from pixward.policies.weights import load_weights

KEEN = 30.0
"""How much a logit grows per expected reward of 1, at the start of training."""
SIGMA_UNIT = 50.0
"""The noise, of 255, that a condition plane of ones stands for."""


_GUESS = ("net.encoder.", "net.out.")


class HalfEncoder(nn.Module):
    """``encoder(image (B, C, H, W), condition (B, K, H, W)) -> (B, width, H/2, W/2)``, sizes rounded up.

    ``depth`` residual blocks of two convolutions. Without the shortcuts the noise, which is what a denoiser puts out,
    has to pass every ReLU: the same quality then took nineteen times as long to train.
    """

    def __init__(self, channels: int, condition: int, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(4 * (channels + condition), width, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(depth))
        initialise(self.first)

    @property
    def reach(self) -> int:
        """How many pixels of the image away something can be and still sway a place."""
        return 2 * (1 + 2 * len(self.blocks)) + 1

    def forward(self, image: Tensor, condition: Tensor | None) -> Tensor:
        """Features that may have either sign."""
        x = self.first(fold(image if condition is None else torch.cat([image, condition], 1)))
        for block in self.blocks:
            x = block(x)
        return x


class ResidualBlock(nn.Module):
    """``x + conv(relu(conv(x)))``, 3x3; begins near the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        initialise(self)
        with torch.no_grad():
            self.outer.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, width, H, W)`` to the same shape."""
        return x + self.outer(self.inner(x).relu_())


class HalfDenoiser(nn.Module):
    """A supervised denoiser: ``denoiser(image, condition) -> image``, both ``(B, C, H, W)``, nothing is clipped.

    The condition is one plane of the noise, :func:`noise_plane`; None for other damage (``condition=0``).
    """

    def __init__(self, channels: int = 1, width: int = 64, depth: int = 5, condition: int = 1) -> None:
        super().__init__()
        self.encoder = HalfEncoder(channels, condition, width, depth)
        self.out = nn.Conv2d(width, 4 * channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, condition: Tensor | None) -> Tensor:
        """The image without its noise."""
        return image - unfold(self.out(self.encoder(image, condition)), image)


class HalfNet(nn.Module):
    """What a :class:`pixward.policies.pixel.PixelPolicy` of the design "half" decides with.

    Args:
        channels: of the image.
        actions: how many a pixel chooses from.
        condition: planes beside the image, such as the noise or a mask.
        width: channels of the hidden layers, a multiple of 4.
        depth: residual blocks of the encoder.
        foresight: whether it looks at what the actions would do.
        remembers: whether later steps read what the first one encoded; otherwise each encodes the image as it is.
    """

    def __init__(
        self,
        channels: int,
        actions: int,
        condition: int,
        width: int,
        depth: int,
        foresight: bool = False,
        remembers: bool = True,
    ) -> None:
        super().__init__()
        self.channels, self.remembers = channels, remembers
        self.encoder = HalfEncoder(channels, condition, width, depth)
        self.mix = nn.Conv2d(width + 4 * channels, width, 3, padding=1)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Conv2d(width, 4 * actions, 3, padding=1)
        self.worth = nn.Conv2d(width, 4, 3, padding=1)
        for layer in (self.mix, self.body, self.head, self.worth):
            initialise(layer)
        self.out = nn.Conv2d(width, 4 * channels, 3, padding=1) if foresight else None
        if self.out is not None:
            # Begins with no guess but the image, no opinion beside the gain, and nothing expected of later steps.
            for layer in (self.out, self.head, self.worth):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            self.keen = nn.Parameter(torch.tensor(KEEN).log())

    @property
    def reach(self) -> int:
        """How many pixels away something can be and still sway one step."""
        return self.encoder.reach + 6

    def look(self, image: Tensor, memory: Tensor | None, condition: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What the policy's head reads, what the value's head reads, and the memory for the next step.

        The memory, ``(B, width / 4, H, W)`` and the guess after it, is at the image's resolution so that it can be cut
        into tiles with it.
        """
        if memory is None or not self.remembers:
            seen = self.encoder(image, condition)
            memory = unfold(seen, image).float()
            if self.out is not None:
                memory = torch.cat([memory, image - unfold(self.out(seen), image)], 1)
        else:
            seen = fold(memory[:, : memory.shape[1] - (0 if self.out is None else self.channels)])
        x = self.mix(torch.cat([seen, fold(image).to(seen.dtype)], 1)).relu_()
        x = self.body(x).relu_()
        return x, x, memory

    def logits(self, features: Tensor, image: Tensor) -> Tensor:
        """``(B, A, H, W)``; with foresight only what is added to :meth:`gains`."""
        return unfold(self.head(features), image)

    def gains(self, image: Tensor, memory: Tensor, outcomes: Tensor) -> Tensor:
        """What it expects each action to gain, as logits ``(B, A, H, W)``; outcomes are ``(B, A, C, H, W)``."""
        guess = memory[:, -self.channels :].float()
        before, after = (guess - image).square(), (guess.unsqueeze(1) - outcomes).square()
        return self.keen.exp() * 255 * (before.unsqueeze(1) - after).mean(2)

    def value(self, features: Tensor, image: Tensor) -> Tensor:
        """``(B, H, W)``. It learns from what the policy sees and teaches it nothing: its errors are far larger."""
        return unfold(self.worth(features.detach()), image)[:, 0]


def fold(image: Tensor) -> Tensor:
    """``(B, C, H, W)`` to ``(B, 4 C, H/2, W/2)``, channels last; an odd last row or column is repeated."""
    height, width = image.shape[2:]
    if height % 2 or width % 2:
        image = F.pad(image, (0, width % 2, 0, height % 2), mode="replicate")
    return F.pixel_unshuffle(image, 2).contiguous(memory_format=torch.channels_last)


def unfold(features: Tensor, like: Tensor) -> Tensor:
    """``(B, 4 C, H/2, W/2)`` to ``(B, C, H, W)`` with the height and width of ``like``."""
    return F.pixel_shuffle(features, 2)[:, :, : like.shape[2], : like.shape[3]]


def initialise(module: nn.Module) -> None:
    """He-normal kernels and zero biases for every convolution in ``module``."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def noise_plane(sigma: Tensor | float, image: Tensor) -> Tensor:
    """The condition that says how strong the noise is: ``(B, 1, H, W)`` for ``image`` ``(B, C, H, W)``.

    Args:
        sigma: standard deviation on the scale of 0 to 255, one number or ``(B,)``.
        image: whose size, device and type it takes.
    """
    level = torch.as_tensor(sigma, dtype=image.dtype, device=image.device).reshape(-1, 1, 1, 1) / SIGMA_UNIT
    return level.expand(image.shape[0], 1, *image.shape[2:])


def load_denoiser(name: str = "noise") -> HalfDenoiser:
    """The denoiser whose guess a shipped policy with foresight follows; ``name`` may also be such a policy's file.

    Raises:
        FileNotFoundError: there is none of that name.
        ValueError: a file that is damaged, or whose policy does not guess.
    """
    tensors, settings = load_weights(name, "pixel")
    own = {key.removeprefix("net."): value for key, value in tensors.items() if key.startswith(_GUESS)}
    if "out.weight" not in own or settings.get("design") != "half":
        raise ValueError(f"the policy {name} has no foresight, and so no denoiser")
    denoiser = HalfDenoiser(1, settings["width"], settings["depth"], settings["condition"])
    denoiser.load_state_dict(own)
    return denoiser.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def denoiser_action(name: str = "noise") -> PixelAction:
    """The denoiser as something that a pixel can do; the condition tells it the noise."""
    denoiser = load_denoiser(name)

    @torch.no_grad()
    def apply(image: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None:
            raise ValueError("the denoiser must be told the noise: give a condition plane")
        return denoiser.to(image.device)(image, condition[:, :1])

    return PixelAction("denoiser", apply, reach=denoiser.encoder.reach + 2, conditional=True)
