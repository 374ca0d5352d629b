"""Pickled trees of numpy arrays, as some packages carry their weights, read without running what a pickle may hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def load_arrays(path: Path) -> Any:
    """The tree of dicts and arrays that ``path`` holds.

    Raises:
        pickle.UnpicklingError: it holds anything else, or is no pickle; a cut file may raise ``EOFError`` as well.
    """
    with path.open("rb") as file:
        return _NumpyOnly(file).load()


def conv_weight(kernel: Any) -> Tensor:
    """A kernel in flax's order (height, width, in, out) in torch's (out, in, height, width)."""
    return torch.tensor(kernel).permute(3, 2, 0, 1).contiguous()


class _NumpyOnly(pickle.Unpickler):
    """A pickle may run any code; this one may build arrays and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return super().find_class(module, name)
        # numpy 2 moved this one; the old name warns.
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return super().find_class("numpy._core.multiarray", name)
        raise pickle.UnpicklingError(f"refused to load {module}.{name}")
