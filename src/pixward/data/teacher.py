"""Expert-like goals: a photo enhancer trained on MIT-Adobe FiveK (expert C), used as a teacher.

Image-adaptive 3D lookup tables (Zeng et al., TPAMI 2020): a small network looks at the photo and mixes three tables.
What it makes lies outside every slider family here. Results on it are those of "3D-LUT teacher pairs", never FiveK's.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pixward.ops.lut import lookup

Teacher = Callable[[Tensor], Tensor]

LUTS_FILE, CLASSIFIER_FILE = "3dlut_LUTs.pth", "3dlut_classifier.pth"
_SIDE = 256


class LutTeacher(nn.Module):
    """Three basis tables and the network that mixes them; the constructor leaves both untrained.

    ``basis`` is ``(3, 3, 33, 33, 33)``: table, output channel, then blue, green and red of the input.
    """

    basis: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("basis", torch.zeros(3, 3, 33, 33, 33))
        # Positions as in the authors' weights: upsampling first, each norm after its activation, dropout near the end.
        layers: list[nn.Module] = [nn.Upsample(size=(_SIDE, _SIDE), mode="bilinear")]
        widths = (3, 16, 32, 64, 128)
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            layers += [nn.InstanceNorm2d(after, affine=True)]
        layers += [
            nn.Conv2d(128, 128, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.5),
            nn.Conv2d(128, 3, 8),
        ]
        self.model = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Enhance ``images`` ``(B, 3, H, W)`` in [0, 1]; the same shape, clipped to [0, 1]."""
        weights = self.model(images).flatten(1)
        return lookup(images, torch.einsum("bk,kcxyz->bcxyz", weights, self.basis)).clamp(0, 1)


def load_teacher(folder: str | Path) -> Teacher:
    """The trained teacher from ``3dlut_LUTs.pth`` and ``3dlut_classifier.pth`` in ``folder``.

    The files are those of HuiZeng/Image-Adaptive-3DLUT, ``pretrained_models/sRGB``, Apache-2.0.

    Returns:
        a function of images ``(B, 3, H, W)`` in [0, 1], sRGB-encoded, to images alike.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file holds something else.
    """
    tables, state = (_load(Path(folder) / name) for name in (LUTS_FILE, CLASSIFIER_FILE))
    teacher = LutTeacher()
    try:
        basis = torch.stack([tables[key]["LUT"] for key in ("0", "1", "2")])
        teacher.load_state_dict({**state, "basis": basis})
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{folder}: not the weights of the image-adaptive 3D-LUT") from error
    return teacher.eval().requires_grad_(False)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no teacher weights at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: not a file of torch weights") from error
