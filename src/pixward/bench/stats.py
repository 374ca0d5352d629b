"""Numbers about numbers: percentiles and bootstrap intervals. Shared by every benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""``(..., n) -> (...)``."""

RESAMPLES = 4000
LEVEL = 95


def mean(values: Floats) -> Floats:
    """Mean over the last axis."""
    return np.mean(values, axis=-1)


def fifth(values: Floats) -> Floats:
    """5th percentile over the last axis, linear between order statistics."""
    return np.percentile(values, 5, axis=-1)


@lru_cache(maxsize=4)
def _draws(count: int, resamples: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, count, (resamples, count))


def interval(
    values: Sequence[float], statistic: Statistic = mean, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval at 95 % of ``statistic`` over photos (Efron 1979): ``(low, high)``."""
    sample = np.asarray(values, dtype=np.float64)
    return _ends(statistic(sample[_draws(len(sample), resamples, seed)]))


def paired_interval(
    first: Sequence[float],
    second: Sequence[float],
    statistic: Statistic = mean,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """The same for ``statistic(first) - statistic(second)``; each draw takes the same photos from both.

    Raises:
        ValueError: lists of different lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"pairs need two lists of one length, got {len(first)} and {len(second)}")
    draws = _draws(len(first), resamples, seed)
    one, two = np.asarray(first, dtype=np.float64)[draws], np.asarray(second, dtype=np.float64)[draws]
    return _ends(statistic(one) - statistic(two))


def _ends(estimates: Floats) -> tuple[float, float]:
    low, high = np.percentile(estimates, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def describe(values: Sequence[float], digits: int) -> dict[str, float]:
    """Mean with its interval (``low``, ``high``), ``median``, ``p5`` and ``p95``, rounded."""
    sample = np.asarray(values, dtype=np.float64)
    low, high = interval(values)
    p5, median, p95 = np.percentile(sample, [5, 50, 95])
    numbers = {"mean": sample.mean(), "low": low, "high": high, "median": median, "p5": p5, "p95": p95}
    return {name: round(float(number), digits) for name, number in numbers.items()}
