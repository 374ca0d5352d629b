"""An editor whose renders are linear in its sliders and, at multiples of 0.04, exact in 8 bit."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pixward.params import ParamSpace, ParamSpec
from pixward.search.problem import Problem

NAMES = ("a", "b", "c", "d")
SPACE = ParamSpace([ParamSpec(name, -1, 1, 0, "", "Adds its pattern.") for name in NAMES])


def _patterns() -> Tensor:
    """What each slider adds per unit, ``(4, 3, 12, 14)``: whole grey levels per step of 0.04."""
    generator = torch.Generator().manual_seed(5)
    return torch.randint(-1, 2, (4, 3, 12, 14), generator=generator) * 25 / 255


@dataclass(frozen=True)
class Linear:
    """``render = photo + sum of slider * pattern``; stays inside [0, 1] for :func:`grey` photos."""

    patterns: Tensor = field(default_factory=_patterns)
    name: str = "linear"
    space: ParamSpace = SPACE
    differentiable: bool = False

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        return (images + torch.einsum("bk,kchw->bchw", params, self.patterns)).clamp(0, 1)


def grey(seed: int = 0) -> Tensor:
    """A photo of middle tones, ``(1, 3, 12, 14)``: 8-bit values that no setting clips."""
    return torch.randint(105, 150, (1, 3, 12, 14), generator=torch.Generator().manual_seed(seed)) / 255


def linear_problem(setting: list[float], budget: int, locked: dict[str, float] | None = None) -> Problem:
    """The goal is ``setting``, in [-1, 1]."""
    editor, source = Linear(), grey()
    return Problem(editor, source, editor(source, torch.tensor([setting])), budget=budget, locked=locked)
