"""Weights of the authors' PixelRL models (github.com/rfuruta/pixelRL), read without Chainer.

A model is an ``.npz`` of float32 arrays, kernels in torch's order: plain (20 arrays), with a ConvGRU (26),
or with a reward-map convolution too (27).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixward.errors import PixwardError
from pixward.ops.pixel import RESTORE
from pixward.policies.pixel import REWARD_KERNEL, PixelPolicy, PixelSettings

_LAYERS = {
    "conv1": "net.shared.0",
    "diconv2/diconv": "net.shared.1",
    "diconv3/diconv": "net.shared.2",
    "diconv4/diconv": "net.shared.3",
    "diconv5_pi/diconv": "net.policy.0",
    "diconv6_pi/diconv": "net.policy.1",
    "diconv5_V/diconv": "net.worth.0",
    "diconv6_V/diconv": "net.worth.1",
    "conv7_V": "net.worth.2",
}
"""Their names of the layers that all models have, and ours."""
_GRU = ("conv7_Wz/W", "conv7_Uz/W", "conv7_Wr/W", "conv7_Ur/W", "conv7_W/W", "conv7_U/W")
_REWARD = "conv_R/W"


def read_pixelrl(
    path: str | Path, sigma: float | None = None, steps: int = 5
) -> tuple[PixelSettings, dict[str, Tensor]]:
    """Settings and tensors of an authors' model, ready for :func:`pixward.policies.pixel.save_pixel_policy`.

    Args:
        path: the ``.npz``.
        sigma: the noise it was trained on; if not given, what the file's name says after "sigma", if anything.
        steps: actions in an episode; the authors' denoising takes 5.

    Raises:
        PixwardError: the file is missing, damaged, or not such a model; one line that says what is wrong.
    """
    path = Path(path)
    arrays = _arrays(path)
    recurrent = "conv8_pi/model/W" in arrays
    layers = {**_LAYERS, ("conv8_pi/model" if recurrent else "conv7_pi/model"): "net.head"}
    expected = {f"{name}/{kind}" for name in layers for kind in "Wb"} | (set(_GRU) if recurrent else set())
    missing, strange = sorted(expected - set(arrays)), sorted(set(arrays) - expected - {_REWARD})
    if missing or strange:
        fault = f"it lacks {missing[0]}" if missing else f"it also holds {strange[0]}"
        raise PixwardError(f"{path} is not a PixelRL model: {fault}")
    tensors = {
        f"{ours}.{kind}": arrays[f"{theirs}/{letter}"]
        for theirs, ours in layers.items()
        for letter, kind in (("W", "weight"), ("b", "bias"))
    }
    if recurrent:
        tensors |= _gru(path, arrays)
    found = re.search(r"sigma_?(\d+)", path.stem)
    noise = sigma if sigma is not None else float(found[1]) if found else None
    settings = PixelSettings(RESTORE.name, recurrent, steps, sigma=noise, origin=f"rfuruta/pixelRL, {path.name}")
    _check(path, tensors, PixelPolicy(settings).state_dict())
    if _REWARD in arrays:
        tensors[REWARD_KERNEL] = arrays[_REWARD]
    return settings, tensors


def _arrays(path: Path) -> dict[str, Tensor]:
    if path.is_dir() or not path.exists():
        raise PixwardError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}: give an .npz of weights")
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except Exception as error:  # on a foreign file numpy and zipfile raise nearly everything
        raise PixwardError(f"{path} is not a whole .npz of weights: download it again") from error
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise PixwardError(f"{path} is not a PixelRL model: {name} holds {array.dtype}, not floats")
        if not np.isfinite(array).all():
            raise PixwardError(f"{path} is damaged: {name} holds NaN or infinity")
    return {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}


def _gru(path: Path, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    for name in _GRU:
        if arrays[name].shape != (64, 64, 3, 3):
            raise PixwardError(f"{path} is not a PixelRL model: {name} is {tuple(arrays[name].shape)}")
    wz, uz, wr, ur, w, u = (arrays[name] for name in _GRU)
    gates = torch.cat([torch.cat([wz, uz], 1), torch.cat([wr, ur], 1)])
    return {"net.gru.gates.weight": gates, "net.gru.candidate.weight": torch.cat([w, u], 1)}


def _check(path: Path, tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        if tensors[name].shape != value.shape:
            raise PixwardError(
                f"{path} does not fit: {name} is {tuple(tensors[name].shape)} where a grey image with "
                f"{len(RESTORE)} actions needs {tuple(value.shape)}"
            )
