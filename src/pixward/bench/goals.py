"""Photos and the goals they are to be edited towards, from published seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixward.bench.settings import GIVEN, TEACHER, EditBenchSettings, GoalSet
from pixward.commands.editors import load_editor
from pixward.data.paired import pairs_of
from pixward.data.pairs import photo_files
from pixward.data.teacher import Teacher
from pixward.errors import PixwardError
from pixward.framing import check_framing, fitted
from pixward.image import Photo, load, preview, quantize
from pixward.search.problem import Goal
from pixward.types import Editor

DARK, BRIGHT = 0.01, 0.9
"""Goals whose mean lies outside are drawn again, as the paper ends and discards collapsed episodes."""
MAX_DRAWS = 1000


@dataclass(frozen=True)
class Shot:
    """A photo on disk: what the page calls it, its file, and the file of a goal that comes with it, if one does."""

    name: str
    source: Path
    goal: Path | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of both files, to tell one data set from another."""
        return self.source.stat().st_size, self.goal.stat().st_size if self.goal else 0


def shots_of(settings: EditBenchSettings) -> list[Shot]:
    """All photos of ``settings.photos`` in the order of their names, with their goals where it has ``pairs``.

    Raises:
        PixwardError: no photos, or not the layout that ``pairs`` says.
    """
    if settings.pairs is not None:
        return [Shot(pair.name, pair.source, pair.goal) for pair in pairs_of(settings.photos, settings.pairs)]
    try:
        return [Shot(path.name, path) for path in photo_files([settings.photos])]
    except FileNotFoundError as error:
        raise PixwardError(f"{error}: pass a folder of photos") from None


@dataclass(frozen=True)
class Pair:
    """One task of the benchmark.

    Attributes:
        index: number of the photo in the sorted folder.
        photo: its name.
        source, goal: ``(1, 3, H, W)``; the goal is 8 bit.
        action: the setting that made the goal, normalised, ``(d,)``; None where something else made it.
        redraws: how many settings were rejected before it.
        weight: how much each pixel counts, ``(1, 1, H, W)``; None where all count alike.
    """

    index: int
    photo: str
    source: Tensor
    goal: Tensor
    action: Tensor | None
    redraws: int
    weight: Tensor | None = None

    @property
    def target(self) -> Tensor | Goal:
        """The goal as a search takes it."""
        return self.goal if self.weight is None else Goal(self.goal, self.weight)

    def counting(self, image: Tensor) -> Tensor:
        """``image`` ``(1, 3, H, W)``, and the goal where the goal does not count: for scores without weights."""
        return image if self.weight is None else torch.where(self.weight > 0, image, self.goal)


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


def given_goal(shot: Shot, photo: Photo, small: Tensor) -> tuple[Tensor, Tensor | None]:
    """The goal that came with a photo at the size of its preview ``small``, 8 bit, and its weights.

    A raw file's goal is laid over it, see :func:`pixward.align.align`, and weighted by what corresponds.

    Raises:
        PixwardError: no goal, no picture, or pictures that are framed differently.
    """
    from pixward.raw import is_raw

    if shot.goal is None:
        raise PixwardError(f"{shot.name} came without a goal: say how the folder holds them with --pairs")
    target, size = load(shot.goal), (small.shape[2], small.shape[3])
    if not is_raw(shot.source):
        check_framing(photo.size, target.size)
        return quantize(fitted(target, size)), None
    from pixward.align import align

    found = align(preview(target, 2 * max(size)), small)
    return quantize(found.goal), found.weight


def make_pair(shot: Shot, index: int, goals: GoalSet, *, seed: int, longest: int, teacher: Teacher | None) -> Pair:
    """Load photo number ``index``, reduce it to ``longest`` pixels on its longest side and make its goal."""
    photo = load(shot.source)
    source = preview(photo, longest)
    if goals.how == GIVEN:
        goal, weight = given_goal(shot, photo, source)
        return Pair(index, shot.name, source, goal, None, 0, weight)
    if goals.how == TEACHER:
        if teacher is None:
            raise PixwardError("goals of the teacher need its weights: pass --teacher FOLDER")
        with torch.no_grad():
            return Pair(index, shot.name, source, quantize(teacher(source)), None, 0)
    assert goals.radius is not None
    goal, action, redraws = random_goal(source, load_editor(goals.editor), goals.radius, seed, index)
    return Pair(index, shot.name, source, goal, action, redraws)
