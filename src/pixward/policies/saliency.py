"""A small free saliency network: how much each place of a picture draws the eye.

Made for rewards that are only called: any ``(images (B, 3, H, W) in [0, 1]) -> (B, H, W) in [0, 1]`` can stand in its
place. Trained by recipes/saliency.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.policies.weights import load_weights, save_weights

KIND = "saliency"
"""What weight files of this network say they hold."""
_MULTIPLE = 8  # three halvings


@dataclass(frozen=True)
class SaliencySettings:
    """Shape of a :class:`SaliencyNet`.

    Attributes:
        side: longest side in pixels at which it looks at a picture.
        widths: channels at a half, a quarter and an eighth of that.
    """

    side: int = 128
    widths: tuple[int, int, int] = (16, 32, 64)


class SaliencyNet(nn.Module):
    """``net(images (B, 3, H, W) in [0, 1]) -> (B, H, W) in [0, 1]``, for any size.

    Fully convolutional with skips, as U-Net (Ronneberger et al., MICCAI 2015). It looks at the picture with its longest
    side at ``settings.side`` pixels: what draws the eye is a matter of the whole picture, not of its pixels' number.
    """

    def __init__(self, settings: SaliencySettings = SaliencySettings()) -> None:
        super().__init__()
        self.settings = settings
        a, b, c = settings.widths
        self.down = nn.ModuleList([_layer(3, a, 2), _layer(a, b, 2), _layer(b, c, 2)])
        self.context = nn.ModuleList([_wide(c, dilation) for dilation in (1, 2, 4)])
        # Contrast is relative: each place is told what the whole picture is like.
        self.whole = nn.Linear(c, c)
        self.up = nn.ModuleList([_layer(c + b, b, 1), _layer(b + a, a, 1)])
        self.out = nn.Conv2d(a, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Saliency.

        Raises:
            ValueError: not ``(B, 3, H, W)``.
        """
        return torch.sigmoid(self.logits(images))

    def logits(self, images: Tensor) -> Tensor:
        """The same before the sigmoid."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"saliency needs images (B, 3, H, W), got {tuple(images.shape)}")
        height, width = images.shape[2:]
        scale = self.settings.side / max(height, width)
        size = [max(_MULTIPLE, round(n * scale / _MULTIPLE) * _MULTIPLE) for n in (height, width)]
        x = images.clamp(0, 1) * 2 - 1
        if [height, width] != size:
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        x = x.contiguous(memory_format=torch.channels_last)
        seen = []
        for layer in self.down:
            x = layer(x)
            seen.append(x)
        for layer in self.context:
            x = x + layer(x)
        x = x + self.whole(x.mean((2, 3)))[:, :, None, None]
        for layer, skip in zip(self.up, (seen[1], seen[0]), strict=True):
            x = layer(torch.cat([F.interpolate(x, skip.shape[2:], mode="nearest"), skip], 1))
        return F.interpolate(self.out(x), (height, width), mode="bilinear", align_corners=False)[:, 0]


def load_saliency(name: str | Path = "default", device: str | torch.device = "cpu") -> SaliencyNet:
    """The network that ships with pixward, "default", or the one in a file, ready to be called.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: a file that is damaged or holds something else.
    """
    tensors, settings = load_weights(name, KIND)
    try:
        net = SaliencyNet(SaliencySettings(**{**settings, "widths": tuple(settings["widths"])}))
        net.load_state_dict(tensors, strict=False)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} does not fit this version's saliency network: train it again") from None
    return net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]


def save_saliency(path: Path, net: SaliencyNet) -> None:
    """Write ``net`` in half precision."""
    tensors: Mapping[str, Tensor] = net.state_dict()
    # How many batches a normalisation has seen matters to training only.
    kept = {key: value for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    save_weights(path, kept, KIND, asdict(net.settings))


def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _wide(width: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
