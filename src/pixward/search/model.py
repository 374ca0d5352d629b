"""What a least-squares solver believes about the editor, and the step that follows from it.

The model predicts a few thousand pixels at any setting. It starts from the newest good render and adds what a learnt
response (if there is one) says will change, plus a linear correction that every further render improves:

    prediction(x) = render(anchor) + [f(x) - f(anchor)] + B (x - anchor)

With no response f = 0 and B is the Jacobian of Gauss-Newton; with one this is output space mapping (Bandler et al.
2004) and B holds only what the response got wrong. Either way B is filled by finite differences and kept up to date by
Broyden's rank-one update (Broyden 1965).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import lsq_linear
from torch import Tensor

from pixward.policies.nets import grid_points
from pixward.policies.response import Responding, pixel_features
from pixward.rewards.look import look_features
from pixward.search.problem import Problem

POINTS = 28
"""Side of the grid of pixels that is fitted: with 28 * 28 * 3 equations for a dozen sliders, more change nothing."""


class EditorModel:
    """Predicts the fitted pixels of ``problem``'s picture from its free sliders.

    Attributes:
        target: the goal's pixels, ``(M,)``, M = 3 x the number of fitted pixels; like all pixels here times the root of
            their weight, where the problem has weights.
        image: the render of :attr:`anchor`, ``(1, 3, H, W)``.
    """

    def __init__(self, problem: Problem, response: Responding | None = None) -> None:
        # A look's pixels have no places to be compared at: what is fitted is the numbers that tell it.
        self.problem, self.response = problem, None if problem.look is not None else response
        # Squared errors are weighted, so pixels are by the root.
        self._root = None if problem.weight is None else _three(grid_points(problem.weight.sqrt(), POINTS))
        self.target = self.read(problem.goal)
        self._anchor: Tensor | None = None
        self.image = problem.source
        self._render = torch.zeros_like(self.target)
        self._base = torch.zeros_like(self.target)
        self._correction = self.target.new_zeros(len(self.target), problem.dim)
        if self.response is not None:
            self._pixels = grid_points(pixel_features(problem.source), POINTS)[0]

    @property
    def anchor(self) -> Tensor:
        """The setting that the model is exact at, ``(dim,)``; ValueError before the first :meth:`learn`."""
        if self._anchor is None:
            raise ValueError("nothing is anchored yet: learn() a render first")
        return self._anchor

    def read(self, image: Tensor) -> Tensor:
        """The fitted pixels of one image ``(1, 3, H, W)`` or ``(3, H, W)`` as ``(M,)``; of a look its features."""
        if self.problem.look is not None:
            return look_features(image.reshape(1, 3, *image.shape[-2:]))[0]
        return self._count(grid_points(image.reshape(1, 3, *image.shape[-2:]), POINTS).flatten())

    def predict(self, free: Tensor) -> Tensor:
        """The fitted pixels ``(M,)`` expected at the free sliders ``(dim,)``."""
        values = self._render + self._respond(free) - self._base
        if self._anchor is not None:
            values = values + self._correction @ (free - self._anchor)
        return values

    def slopes(self, free: Tensor) -> Tensor:
        """Derivatives of :meth:`predict`, ``(M, dim)``."""
        if self.response is None:
            return self._correction
        values, slopes = self.response.jacobian(self._pixels, self.problem.fill(free[None])[0])
        inside = (values > 0) & (values < 1)
        moving = slopes[:, self.problem.free] * inside[:, None]
        return (moving if self._root is None else moving * self._root[:, None]) + self._correction

    def error(self, pixels: Tensor | None = None) -> float:
        """Mean squared error to the goal of ``pixels``, of the anchor's render by default."""
        return float(((self._render if pixels is None else pixels) - self.target).pow(2).mean())

    def learn(self, free: Tensor, image: Tensor, *, move: bool) -> None:
        """Take in a render of ``free``: correct the slopes along the way there (Broyden), then maybe anchor there."""
        pixels = self.read(image)
        if self._anchor is not None:
            way = free - self._anchor
            length = float(way @ way)
            if length > 1e-10:
                miss = pixels - self.predict(free)
                self._correction = self._correction + torch.outer(miss, way) / length
        if move or self._anchor is None:
            self._anchor, self._render, self.image = free, pixels, image.reshape(self.problem.source.shape)
            self._base = self._respond(free)

    def measure(self, step: float, columns: Sequence[int] | None = None) -> None:
        """Replace the slopes at the anchor by forward differences: one render per free slider, all in one batch.

        ``columns``: which of the free sliders; None for all. Moves the anchor if one of these renders is nearer the
        goal.
        """
        which = list(range(self.problem.dim)) if columns is None else list(columns)
        here = self.anchor
        inward = torch.where(here > 0, -step, step)[which]
        probes = here.expand(len(which), -1).clone()
        probes[range(len(which)), which] += inward
        images = self.problem.render(probes)
        pixels = torch.stack([self.read(image) for image in images], 1)
        measured = (pixels - self._render[:, None]) / inward
        self._correction = self._correction.clone()
        self._correction[:, which] += measured - self.slopes(here)[:, which]
        misses = ((pixels - self.target[:, None]) ** 2).mean(0)
        best = int(misses.argmin())
        if misses[best] < self.error():
            self.learn(probes[best], images[best], move=True)

    def _respond(self, free: Tensor) -> Tensor:
        """The response's pixels, clipped as renders are; zeros without a response."""
        if self.response is None:
            return torch.zeros_like(self.target)
        with torch.no_grad():
            return self._count(self.response(self._pixels[None], self.problem.fill(free[None])).flatten().clamp(0, 1))

    def _count(self, pixels: Tensor) -> Tensor:
        """Pixels ``(M,)`` by how much they count."""
        return pixels if self._root is None else pixels * self._root


def _three(weights: Tensor) -> Tensor:
    """One weight a pixel, ``(1, N, 1)``, as one a channel, ``(3 * N,)``."""
    return weights.expand(-1, -1, 3).flatten()


def propose(model: EditorModel, start: Tensor, damping: float, rounds: int) -> Tensor:
    """The setting ``(dim,)`` where the model comes nearest the goal.

    Damped Gauss-Newton within the box [-1, 1] (Levenberg 1944, Marquardt 1963): up to ``rounds`` steps on the model
    alone, no render. ``damping`` pulls towards ``start``, in units of the diagonal of J'J.
    """
    here, values = start, model.predict(start)
    cost = model.error(values)
    for _ in range(rounds):
        slopes = model.slopes(here)
        normal = slopes.T @ slopes
        scale = normal.diagonal() + 1e-6 * normal.diagonal().max() + 1e-9
        gradient = slopes.T @ (values - model.target) + damping * scale * (here - start)
        step = box_step(normal + torch.diag(damping * scale), gradient, -1 - here, 1 - here)
        if rounds == 1:
            return here + step
        for shrink in (1.0, 0.3, 0.1):
            there = here + shrink * step
            values = model.predict(there)
            promised = model.error(values)
            if promised < cost:
                break
        else:
            break
        here, before, cost = there, cost, promised
        if cost > 0.9 * before:
            break
    return here


def box_step(normal: Tensor, gradient: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Minimise ``s'Hs / 2 + g's`` for ``low <= s <= high``; H ``(d, d)`` positive definite, the rest ``(d,)``.

    Solved exactly as a bounded linear least-squares problem (scipy's BVLS), since clipping a free step onto the box
    leaves the other sliders where only the clipped one made sense.
    """
    matrix, vector, least, most = (value.double().cpu().numpy() for value in (normal, gradient, low, high))
    upper = _root(matrix)
    wanted = np.linalg.solve(upper.T, -vector)
    bounds = (np.minimum(least, 0) - 1e-9, np.maximum(most, 0) + 1e-9)
    step = lsq_linear(upper, wanted, bounds, method="bvls").x
    return torch.from_numpy(step).to(gradient)


def _root(matrix: np.ndarray) -> np.ndarray:
    """Upper Cholesky factor, with as little added to the diagonal as makes ``matrix`` positive definite.

    Two sliders that do the same make it singular, and float32 sums put it a little below: 1e-10 is then too little.
    """
    unit = np.trace(matrix) / len(matrix) * np.eye(len(matrix))
    for share in (1e-10, 1e-7, 1e-5):
        try:
            return np.linalg.cholesky(matrix + share * unit).T
        except np.linalg.LinAlgError:
            continue
    return np.linalg.cholesky(matrix + 1e-3 * unit).T
