"""The Frechet distance against scipy's matrix root, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from pixward.metrics.frechet import frechet_distance


def test_equals_the_formula_with_a_matrix_root() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5)), rng.normal(1, 2, size=(90, 5))
    one, two = (np.cov(part.T, bias=True) for part in (first, second))
    gap = first.mean(0) - second.mean(0)
    expected = gap @ gap + np.trace(one + two - 2 * sqrtm(one @ two).real)
    assert frechet_distance(torch.tensor(first), torch.tensor(second)) == pytest.approx(expected, rel=1e-6)


def test_of_one_dimension_by_hand() -> None:
    first, second = torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [10.0]])  # means 1, 7; deviations 1, 3
    assert frechet_distance(first, second) == pytest.approx(36 + 4)


def test_is_nothing_between_equal_sets() -> None:
    points = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(points, points) == pytest.approx(0, abs=1e-9)


def test_refuses_what_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="two items"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        frechet_distance(torch.zeros(4, 3), torch.zeros(5, 2))
