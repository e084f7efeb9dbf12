"""How sure a measured number is: 95% intervals for shares, means and differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its interval, in the unit of the values, from `n` values."""

    value: float
    low: float
    high: float
    n: int

    def overlaps(self, other: Interval) -> bool:
        """True when some number lies in both; then the two may well be equal."""
        return self.low <= other.high and other.low <= self.high


def wilson(successes: float, n: int, z: float = 1.96) -> Interval:
    """Wilson score interval of a share: right at 0 and at `n` successes, where +/- z * sem is not.

    Args:
        successes: how many of the `n` succeeded; a tie may count half. What rounding left beside a whole number (a
            mean times `n`) is taken for it.
        n: independent trials.
        z: half-width in standard errors; 1.96 gives 95%.

    Raises:
        ValueError: `n` is not positive, or `successes` is outside 0..n.

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is not a proportion")
    if abs(successes - round(successes)) <= 1e-6 * n:
        successes = round(successes)
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(share, low, high, n)


def share_interval(share: float, n: int) -> Interval:
    """Wilson interval of a share in which ties may count half; its value is `share` to the bit.

    Raises:
        ValueError: as `wilson`.
    """
    ends = wilson(share * n, n)
    return Interval(share, ends.low, ends.high, n)


def interval_of(values: Sequence[float]) -> Interval:
    """95% interval of the mean: Wilson's where every value is 0 or 1, else Student's t.

    Raises:
        ValueError: `values` is empty.
    """
    if values and all(v in (0.0, 1.0) for v in values):
        return wilson(int(sum(values)), len(values))
    ends = mean_interval(values)
    return Interval(sum(values) / len(values), ends.low, ends.high, ends.n)


def mean_interval(values: Sequence[float]) -> Interval:
    """95% Student t interval of the mean; of a single value the ends are infinite.

    Raises:
        ValueError: `values` is empty.
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    mean, n = fmean(values), len(values)
    if n == 1:
        return Interval(mean, -math.inf, math.inf, n)
    half = t_quantile(n - 1) * stdev(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """95% interval of sum(numerators) / sum(denominators), such as a loss per token over texts of unequal lengths.

    Args:
        numerators, denominators: one of each an item; the items are what was drawn.

    Raises:
        ValueError: the two differ in length, or the denominators do not add up to more than 0.

    Source: linearisation of a ratio estimator, Cochran 1977, Sampling Techniques, eq. 6.13.
    """
    n, total = len(denominators), math.fsum(denominators)
    if len(numerators) != n or total <= 0:
        raise ValueError(f"{len(numerators)} numerators over {n} denominators of sum {total}")
    ratio = math.fsum(numerators) / total
    if n == 1:
        return Interval(ratio, -math.inf, math.inf, n)
    residuals = (a - ratio * b for a, b in zip(numerators, denominators, strict=True))
    variance = math.fsum(r * r for r in residuals) / (n - 1) * n / total**2
    half = t_quantile(n - 1) * math.sqrt(variance)
    return Interval(ratio, ratio - half, ratio + half, n)


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Interval:
    """95% interval of the mean of after - before over the same items, in the same order.

    Narrower than the difference of two intervals, since what an item adds to both cancels.

    Raises:
        ValueError: the two differ in length, or are empty.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} values before and {len(after)} after do not pair")
    return mean_interval([b - a for a, b in zip(before, after, strict=True)])


@lru_cache
def t_quantile(df: int) -> float:
    """97.5% quantile of Student's t with `df` degrees of freedom: 12.706 at 1, 1.96 at many."""
    low, high = 1.9, 12.8
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _t_central(middle, df) < 0.95 else (low, middle)
    return (low + high) / 2


def _t_central(t: float, df: int) -> float:
    """P(|T| < t): the finite sums of Abramowitz and Stegun 26.7.3 (odd) and 26.7.4 (even)."""
    theta = math.atan(t / math.sqrt(df))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = df % 2
    term = cosine if odd else 1.0
    total = 0.0 if df == 1 else term
    for k in range(3 if odd else 2, df - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return (theta + sine * total) * 2 / math.pi if odd else sine * total
