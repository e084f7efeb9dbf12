"""Intervals against published and hand-worked values."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.observability.intervals import (
    Interval,
    interval_of,
    mean_interval,
    paired_difference,
    ratio_interval,
    share_interval,
    t_quantile,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Stat Med 17:857, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_published_values(successes, n, low, high):
    interval = wilson(successes, n)
    assert interval.value == successes / n
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_mirrors_and_contains_its_share(case):
    successes, n = case
    interval, mirrored = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirrored.high)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_share(successes, n):
    with pytest.raises(ValueError, match="is not a proportion"):
        wilson(successes, n)


@pytest.mark.parametrize(
    ("df", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (127, 1.979)],
)
def test_t_quantile_table(df, quantile):
    assert t_quantile(df) == pytest.approx(quantile, abs=5e-4)


def test_t_quantile_falls_to_the_normal_one():
    quantiles = [t_quantile(df) for df in range(1, 60)]
    assert quantiles == sorted(quantiles, reverse=True)
    assert t_quantile(20_000) == pytest.approx(NormalDist().inv_cdf(0.975), abs=2e-4)


def test_mean_interval_by_hand():
    # mean 3, sample sd sqrt(2.5), sem sqrt(0.5), t(4) = 2.77645: half-width 1.96325
    interval = mean_interval([1, 2, 3, 4, 5])
    assert interval.value == 3
    assert interval.low == pytest.approx(1.03676, abs=1e-5)
    assert interval.high == pytest.approx(4.96324, abs=1e-5)
    assert interval.n == 5


def test_one_value_says_nothing_about_its_spread():
    assert mean_interval([0.5]) == Interval(0.5, -math.inf, math.inf, 1)
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([])


def test_paired_difference_by_hand():
    # differences 1, 0, 1, 0: mean 0.5, sd 0.57735, sem 0.288675, t(3) = 3.18245
    interval = paired_difference([0, 1, 0, 1], [1, 1, 1, 1])
    assert interval.value == 0.5
    assert interval.low == pytest.approx(0.5 - 0.91869, abs=1e-5)
    assert interval.high == pytest.approx(0.5 + 0.91869, abs=1e-5)


def test_pairing_removes_what_items_share():
    before = [0.0, 10.0, 20.0, 30.0]
    after = [1.0, 11.5, 21.0, 31.5]
    assert paired_difference(before, after).low > 0
    assert mean_interval(before).overlaps(mean_interval(after))
    with pytest.raises(ValueError, match="4 values before and 3 after"):
        paired_difference(before, after[:3])


def test_overlap_includes_touching_ends():
    assert Interval(1, 0, 2, 9).overlaps(Interval(3, 2, 4, 9))
    assert not Interval(1, 0, 1.9, 9).overlaps(Interval(3, 2, 4, 9))


def test_a_ratio_is_that_of_the_sums_and_covers_the_truth() -> None:
    """Worked: 3/1 and 3/3 make 6/4; residuals 1.5 and -1.5, variance 4.5 * 2 / 16, t(1) = 12.706."""
    found = ratio_interval([3.0, 3.0], [1.0, 3.0])
    assert found.value == 1.5
    assert found.high - 1.5 == pytest.approx(12.706 * 0.75, rel=1e-4)
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        counts = rng.integers(5, 200, size=60).astype(float)
        losses = 2.0 * counts + rng.normal(size=60) * np.sqrt(counts)
        interval = ratio_interval(losses.tolist(), counts.tolist())
        covered += interval.low <= 2.0 <= interval.high
    assert 0.92 <= covered / 400 <= 0.98
    with pytest.raises(ValueError, match="2 numerators over 1"):
        ratio_interval([1.0, 2.0], [1.0])


def test_half_points_are_not_rounded_away():
    """Ties of pairs count half: 2.5 of 5 is a half, not 2 of 5."""
    interval = wilson(2.5, 5)

    assert interval.value == 0.5
    assert interval.low == pytest.approx(1 - interval.high)
    low, high = wilson(2, 5), wilson(3, 5)
    assert low.low < interval.low < high.low
    assert wilson(5 * (1 - 1e-7), 5) == wilson(5, 5)


def test_zeros_and_ones_are_a_share_and_other_values_a_mean() -> None:
    assert interval_of([1.0, 0.0, 1.0, 1.0]) == wilson(3, 4)
    assert interval_of([0.5, 0.0, 1.0]) == mean_interval([0.5, 0.0, 1.0])
    with pytest.raises(ValueError, match="at least one value"):
        interval_of([])


def test_a_tie_counts_half_in_a_share() -> None:
    """2.5 of 4 pairs won."""
    assert share_interval(0.625, 4) == wilson(2.5, 4)
    noisy = share_interval(3 * (1 / 3) - 1e-12, 3)
    assert (noisy.value, noisy.high) == (3 * (1 / 3) - 1e-12, 1.0), (
        "the share stays as it was computed"
    )
