"""One step of a pixel policy as an ONNX model, for programs without torch."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from pixward.errors import PixwardError
from pixward.files import save_atomic
from pixward.policies.pixel import PixelPolicy

OPSET = 20


class _Step(nn.Module):
    """Everything that may change between steps is an input, everything that is to be kept an output."""

    def __init__(self, policy: PixelPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, image: Tensor, memory: Tensor | None, first: Tensor | None, condition: Tensor | None) -> object:
        if first is not None and memory is not None:
            memory = torch.cond(first, self._begin, lambda image, memory, condition: memory.clone(), (image, memory, condition))
        logits, remembered = self.policy(image, memory, condition)
        return logits if remembered is None else (logits, remembered)
