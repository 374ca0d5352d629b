"""What every solver works on: one photo, one goal, one editor, and a budget of renders."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pixward.image import quantize
from pixward.metrics.image import PSNR_EXACT
from pixward.rewards.look import toward
from pixward.types import Editor, Reward

FLOOR = 1 / (12 * 255**2)
"""The error that rounding the goal to 8 bit makes (58.9 dB): a setting below it is as good as exact."""


class BudgetSpent(Exception):
    """Raised by :meth:`Problem.render` when no render is left; :func:`run` catches it."""


@dataclass(frozen=True)
class Trial:
    """One render that was paid for.

    Attributes:
        action: all sliders, normalised to [-1, 1], ``(d,)``.
        mse: mean squared error to the goal, both 8 bit; towards a :class:`Look` minus its reward.
        image: the render, 8 bit, ``(3, H, W)`` uint8.
    """

    action: Tensor
    mse: float
    image: Tensor


@dataclass(frozen=True)
class Goal:
    """A goal that is not to be met everywhere: a camera's JPEG laid over a raw file's render, say.

    Attributes:
        image: ``(1, 3, H, W)`` in [0, 1].
        weight: how much each pixel counts, ``(1, 1, H, W)``, 0 or more, not all 0.
    """

    image: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Look:
    """A goal that shows another scene: its look is wanted, not its pixels.

    Attributes:
        reference: the picture whose look is wanted, ``(1, 3, h, w)`` in [0, 1], of any size.
        reward: how near a render comes to it, ``reward(output (N, 3, H, W), reference) -> (N,)``, at most 0 and higher
            is better; None for the fast one, :func:`pixward.rewards.look.look`. What it takes for nearest need not be
            what a person would: it sees the two scenes' own colours as well, which is why a policy's word counts more,
            see :meth:`Problem.settle`.
    """

    reference: Tensor
    reward: Reward | None = None


class Problem:
    """Find sliders that make ``editor(source)`` look like ``goal``, within ``budget`` renders.

    Solvers see the *free* sliders only, normalised to [-1, 1]; locked ones are filled in here. Renders and goal are
    compared as 8-bit images, since that is what people and files hold.

    Attributes:
        trials: every render so far, in order.
        weight: how much each pixel counts, ``(1, 1, H, W)`` with mean 1; None where all count alike.
        source_mse: error of the untouched photo, which is known without a render.
        free: positions of the sliders that may move.
        goal: the goal's picture, ``(1, 3, H, W)``, 8 bit; the reference of a look, ``(1, 3, h, w)``.
        look: the look that is wanted, None where the goal shows the photo itself.
        look_reward: how near renders ``(N, 3, H, W)`` come to it, ``(N,)``; None where there is none.
        settled: which trial is the answer, if the solver has said so; None for the one nearest the goal.
    """

    def __init__(
        self,
        editor: Editor,
        source: Tensor,
        goal: Tensor | Goal | Look,
        *,
        budget: int,
        locked: Mapping[str, float] | None = None,
        on_render: Callable[[Trial], None] | None = None,
    ) -> None:
        """``source`` and ``goal``: ``(1, 3, H, W)``; ``locked``: ``{slider: value in its unit}``.

        Raises:
            ValueError: shapes that differ (a look may have its own), an unknown slider, a value out of range, no slider
                left to move.
        """
        self.look = goal if isinstance(goal, Look) else None
        goal, self.weight = _weighted(goal)
        fits = source.ndim == goal.ndim == 4 and source.shape[0] == 1 and source.shape[:2] == goal.shape[:2]
        if not fits or (self.look is None and source.shape != goal.shape):
            raise ValueError(f"source {tuple(source.shape)} and goal {tuple(goal.shape)} must both be (1, 3, H, W)")
        if budget < 1:
            raise ValueError(f"need at least one render, got {budget}")
        self.editor, self.space, self.budget = editor, editor.space, budget
        self.source, self.goal = source, quantize(goal)
        fixed = dict(locked or {})
        base = self.space.default_action()[0]
        row = self.space.normalize(self.space.from_dict(fixed))
        for name in fixed:
            base[self.space.index(name)] = row[self.space.index(name)]
        self.base = base.to(source.device)
        self.free = [i for i, name in enumerate(self.space.names) if name not in fixed]
        if not self.free:
            raise ValueError("every slider is locked: nothing is left to search")
        self.look_reward = None if self.look is None else self.look.reward or toward(self.goal)
        self.trials: list[Trial] = []
        self.settled: int | None = None
        self.source_mse = self.mse(quantize(source))
        self._on_render = on_render

    @property
    def dim(self) -> int:
        """How many sliders may move."""
        return len(self.free)

    @property
    def left(self) -> int:
        """How many renders are left."""
        return self.budget - len(self.trials)

    @property
    def start(self) -> Tensor:
        """The free sliders untouched, ``(dim,)``."""
        return self.base[self.free].clone()

    @property
    def best(self) -> Trial | None:
        """The trial nearest the goal, None before the first render."""
        return min(self.trials, key=lambda trial: trial.mse, default=None)

    def mse(self, image: Tensor) -> float:
        """Error of ``image`` ``(1, 3, H, W)`` or ``(3, H, W)``, see :class:`Trial`; weighted where weights are."""
        if self.look_reward is not None:
            return -float(self.look_reward(image.reshape(1, 3, *image.shape[-2:]), self.goal))
        squares = (image - self.goal) ** 2
        return float((squares if self.weight is None else squares * self.weight).mean())

    def settle(self) -> None:
        """Say that the newest trial is the answer, whatever trial is nearest the goal.

        For solvers that know better than :meth:`mse`: a look's reward compares the colours of two scenes, and the
        setting that makes them equal is not the one that made the reference.
        """
        self.settled = len(self.trials) - 1

    def fill(self, free: Tensor) -> Tensor:
        """Free sliders ``(N, dim)`` to all sliders ``(N, d)``, clamped to [-1, 1], locked ones in place."""
        full = self.base.expand(free.shape[0], -1).clone()
        full[:, self.free] = free.to(full).clamp(-1, 1)
        return full

    def render(self, free: Tensor) -> Tensor:
        """Render free sliders ``(N, dim)``; returns 8-bit-valued images ``(N, 3, H, W)``. Each row costs one render.

        Raises:
            BudgetSpent: fewer than N renders are left; those that are left are made and recorded first.
        """
        rows = min(free.shape[0], self.left)
        images = self._render(self.fill(free[:rows])) if rows else None
        if images is None or rows < free.shape[0]:
            raise BudgetSpent
        return images

    def derivative(self, trial: Trial) -> tuple[Tensor, Tensor]:
        """The exact render of ``trial`` and its slope, for editors that are ``differentiable``.

        Costs no render, since ``trial`` was paid for, but the time of some ``2 * dim`` of them (forward-mode
        differentiation): what a white-box solver may know and a black-box one may not.

        Returns:
            the render before rounding, ``(3, H, W)``, and its derivative by each free normalised slider,
            ``(dim, 3, H, W)``.

        Raises:
            ValueError: the editor is not differentiable.
        """
        if not self.editor.differentiable:
            raise ValueError(f"{self.editor.name} has no gradients: use a strategy that only renders")

        def picture(free: Tensor) -> Tensor:
            full = trial.action.to(free).index_copy(0, torch.tensor(self.free, device=free.device), free)
            return self.editor(self.source, self.space.denormalize(full[None]))[0]

        # On the rim the clamp to the slider's range would halve the slope.
        point = trial.action[self.free].clamp(-1 + 1e-6, 1 - 1e-6)

        def slope(direction: Tensor) -> Tensor:
            return torch.func.jvp(picture, (point,), (direction,))[1]

        with torch.no_grad():
            directions = torch.eye(self.dim, device=point.device, dtype=point.dtype)
            return picture(point), torch.func.vmap(slope)(directions)

    def _render(self, actions: Tensor) -> Tensor:
        with torch.no_grad():
            source = self.source.expand(actions.shape[0], -1, -1, -1)
            images = quantize(self.editor(source, self.space.denormalize(actions)))
        for action, image in zip(actions, images, strict=True):
            trial = Trial(action, self.mse(image), (image * 255).round().to(torch.uint8))
            self.trials.append(trial)
            if self._on_render:
                self._on_render(trial)
        return images


def _weighted(goal: Tensor | Goal | Look) -> tuple[Tensor, Tensor | None]:
    """The picture, and its weights with mean 1."""
    if isinstance(goal, Look):
        return goal.reference, None
    if isinstance(goal, Tensor):
        return goal, None
    weight = goal.weight
    if weight.shape != (1, 1, *goal.image.shape[-2:]) or float(weight.min()) < 0 or not float(weight.max()) > 0:
        raise ValueError(f"weights must be (1, 1, H, W), 0 or more and not all 0, got {tuple(weight.shape)}")
    return goal.image, weight / weight.mean()


Solver = Callable[[Problem, int], None]
"""A strategy: ``solver(problem, seed)`` renders until the budget is spent or it has nothing left to try."""


def run(solver: Solver, problem: Problem, seed: int = 0) -> list[Trial]:
    """Run ``solver`` to the end of its budget and return every trial in order."""
    try:
        solver(problem, seed)
    except BudgetSpent:
        pass
    return problem.trials


def best_so_far(problem: Problem) -> list[float]:
    """MSE of the best picture in hand after 0, 1, 2, ... renders; the untouched photo counts as the first."""
    best, curve = problem.source_mse, [problem.source_mse]
    for trial in problem.trials:
        best = min(best, trial.mse)
        curve.append(best)
    return curve


def psnr(mse: float) -> float:
    """:func:`pixward.metrics.image.psnr` of an error that is known already: a peak of 1, at most ``PSNR_EXACT``."""
    return -10 * math.log10(max(mse, 10 ** (-PSNR_EXACT / 10)))
