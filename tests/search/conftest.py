"""Small search problems that every solver's tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pixward.editors.chain import PAPER
from pixward.params import ParamSpace
from pixward.search.problem import Problem
from pixward.types import Editor


@dataclass(frozen=True)
class BlackBox:
    """The paper's chain without its gradients; notes how many rows it rendered."""

    rows: list[int]
    name: str = "black-box"
    space: ParamSpace = PAPER.space
    differentiable: bool = False

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        self.rows.append(images.shape[0])
        return PAPER(images, params).detach()


def photo(seed: int = 0, side: int = 20) -> Tensor:
    """A soft picture with all tones and some colour, ``(1, 3, side, side + 4)``."""
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (side, side + 4), mode="bicubic").clamp(0, 1)


@pytest.fixture
def black_box() -> BlackBox:
    """An editor that only renders."""
    return BlackBox([])


@pytest.fixture
def make_problem() -> Callable[..., Problem]:
    """``make_problem(editor, budget, radius=0.5, locked=None)``: a goal that the editor's sliders reach."""

    def make(
        editor: Editor, budget: int, radius: float = 0.5, locked: dict[str, float] | None = None, seed: int = 0
    ) -> Problem:
        source = photo(seed)
        action = 2 * torch.rand(1, len(editor.space), generator=torch.Generator().manual_seed(seed + 7)) - 1
        goal = editor(source, editor.space.denormalize(radius * action))
        return Problem(editor, source, goal, budget=budget, locked=locked)

    return make
