from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from pixward.bench.stats import describe, fifth, interval, mean, paired_interval

SAMPLE = np.random.default_rng(3).gamma(2.0, 5.0, 60)


@pytest.mark.parametrize("statistic", [mean, fifth])
def test_interval_agrees_with_scipy(statistic) -> None:
    reference = scipy.stats.bootstrap(
        (SAMPLE,),
        lambda values, axis: statistic(np.moveaxis(values, axis, -1)),
        n_resamples=20000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    low, high = interval(list(SAMPLE), statistic, resamples=20000)
    spread = reference.high - reference.low
    assert low == pytest.approx(reference.low, abs=0.05 * spread)
    assert high == pytest.approx(reference.high, abs=0.05 * spread)


def test_paired_interval_agrees_with_scipy_and_takes_the_same_photos_from_both() -> None:
    other = SAMPLE - np.random.default_rng(4).normal(1.0, 0.5, 60)
    reference = scipy.stats.bootstrap(
        (SAMPLE, other),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        n_resamples=20000,
        method="percentile",
        paired=True,
        rng=np.random.default_rng(1),
    ).confidence_interval
    low, high = paired_interval(SAMPLE, other, resamples=20000)
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.02)
    # Unpaired, the spread of the photos themselves would make it many times as wide.
    assert high - low < 0.3
    assert paired_interval(SAMPLE, SAMPLE - 2, fifth) == pytest.approx((2, 2))


def test_describe_by_hand() -> None:
    found = describe([float(value) for value in range(101)], 2)
    assert (found["mean"], found["median"], found["p5"], found["p95"]) == (50, 50, 5, 95)
    assert found["low"] < 50 < found["high"]
    assert describe([7.0], 2) == {"mean": 7, "low": 7, "high": 7, "median": 7, "p5": 7, "p95": 7}


def test_pairs_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="one length, got 2 and 1"):
        paired_interval([1.0, 2.0], [1.0])
