"""Weights on disk: one safetensors file per network, its settings in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixward.files import save_atomic


def load_weights(name: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (float32) and settings of ``name``: an editor's name for the shipped ``kind``, or a file's path.

    Raises:
        FileNotFoundError: there is neither a shipped network nor a file of that name.
        ValueError: a file that is damaged or not one of pixward's.
    """
    from safetensors import SafetensorError, safe_open

    path = find_weights(name, kind)
    if path is None:
        raise FileNotFoundError(f"no {kind} for {name}: none is shipped for that editor and no such file exists")
    try:
        with safe_open(str(path), "pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole file of weights ({error}): train it again or fetch it anew") from None
    if header.get("kind") != kind:
        raise ValueError(f"{path} does not hold a pixward {kind}")
    for key, value in tensors.items():
        if not bool(value.isfinite().all()):
            raise ValueError(f"{path} is damaged, {key} holds NaN or infinity: train it again or fetch it anew")
    try:
        settings = dict(json.loads(header["settings"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} does not tell the settings of its {kind}: train it again") from None
    return tensors, settings


def find_weights(name: str | Path, kind: str) -> Path | None:
    """Where :func:`load_weights` would read from, or None."""
    if Path(name).is_file():
        return Path(name)
    shipped = resources.files("pixward") / "weights" / f"{str(name).replace(':', '-')}.{kind}.safetensors"
    return Path(str(shipped)) if shipped.is_file() else None


def save_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    kind: str,
    settings: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write ``tensors`` as ``dtype``, with ``settings`` in the header.

    Half precision is what networks that predict sliders do not notice.
    """
    from safetensors.torch import save_file

    stored = {key: value.detach().to("cpu", dtype).contiguous() for key, value in tensors.items()}
    header = {"kind": kind, "settings": json.dumps(dict(settings))}
    save_atomic(path, lambda part: save_file(stored, str(part), header), force=True)
