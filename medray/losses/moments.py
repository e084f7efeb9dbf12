"""Mean and variance of numbers that are met in parts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and sum of squared deviations. Parts merge to the moments of the whole.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared deviations from the mean

    @classmethod
    def of(cls, values: Iterable[float]) -> Moments:
        """Compute count, mean and sum of squared deviations of some values, in float64."""
        numbers = [float(v) for v in values]
        if not numbers:
            return cls()
        mean = math.fsum(numbers) / len(numbers)
        return cls(len(numbers), mean, math.fsum((v - mean) ** 2 for v in numbers))

    def merge(self, other: Moments) -> Moments:
        """Moments of both parts together."""
        count = self.count + other.count
        if count == 0:
            return self
        gap = other.mean - self.mean
        mean = self.mean + gap * other.count / count
        squares = self.squares + other.squares + gap * gap * self.count * other.count / count
        return Moments(count, mean, squares)

    @property
    def variance(self) -> float:
        """Sample variance; 0 for fewer than two numbers."""
        return self.squares / (self.count - 1) if self.count > 1 else 0.0

    @property
    def std(self) -> float:
        """Sample standard deviation."""
        return math.sqrt(self.variance)


def merged(parts: Iterable[Moments]) -> Moments:
    """Moments of all parts, in their order."""
    total = Moments()
    for part in parts:
        total = total.merge(part)
    return total
