"""Photos and the goals they are to be edited towards, from published seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixward.bench.settings import GoalSet
from pixward.commands.editors import load_editor
from pixward.data.teacher import Teacher
from pixward.errors import PixwardError
from pixward.image import load, preview, quantize
from pixward.types import Editor

DARK, BRIGHT = 0.01, 0.9
"""Goals whose mean lies outside are drawn again, as the paper ends and discards collapsed episodes."""
MAX_DRAWS = 1000


@dataclass(frozen=True)
class Pair:
    """One task of the benchmark.

    Attributes:
        index: number of the photo in the sorted folder.
        photo: its file name.
        source, goal: ``(1, 3, H, W)``; the goal is 8 bit.
        action: the setting that made the goal, normalised, ``(d,)``; None for the teacher's.
        redraws: how many settings were rejected before it.
    """

    index: int
    photo: str
    source: Tensor
    goal: Tensor
    action: Tensor | None
    redraws: int


def random_goal(source: Tensor, editor: Editor, radius: float, seed: int, index: int) -> tuple[Tensor, Tensor, int]:
    """A goal within the editor's reach: ``(goal (1, 3, H, W), action (d,), redraws)``.

    ``a = radius * u``, ``u ~ U(-1, 1)^d`` from NumPy's PCG64 seeded with ``[seed, index]``: goals depend on nothing
    else, and those of two radii lie in the same direction. One pass through the editor, rounded to 8 bit. A goal with a
    mean below 0.01 or above 0.9 is drawn again from the same generator.

    Raises:
        PixwardError: a photo so dark or bright that a thousand draws gave no goal.
    """
    generator = np.random.default_rng([seed, index])
    for redraws in range(MAX_DRAWS):
        unit = torch.from_numpy(generator.uniform(-1, 1, len(editor.space))).float()
        action = radius * unit
        with torch.no_grad():
            goal = quantize(editor(source, editor.space.denormalize(action[None])))
        if DARK <= float(goal.mean()) <= BRIGHT:
            return goal, action, redraws
    raise PixwardError(f"photo {index}: no setting within {radius:g} gives a goal that is neither black nor white")


def make_pair(path: Path, index: int, goals: GoalSet, *, seed: int, longest: int, teacher: Teacher | None) -> Pair:
    """Load photo number ``index``, reduce it to ``longest`` pixels on its longest side and make its goal."""
    source = preview(load(path), longest)
    if goals.radius is None:
        if teacher is None:
            raise PixwardError("goals of the teacher need its weights: pass --teacher FOLDER")
        with torch.no_grad():
            return Pair(index, path.name, source, quantize(teacher(source)), None, 0)
    goal, action, redraws = random_goal(source, load_editor(goals.editor), goals.radius, seed, index)
    return Pair(index, path.name, source, goal, action, redraws)
