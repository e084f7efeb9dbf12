"""Metrics that are added over micro-batches and ranks without loss.

Each name declares how it is reduced when it is first used. Totals are exact rationals, so the
result does not depend on how a batch was cut, nor on the order in which ranks answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, Self

Reduction = Literal["mean", "sum", "max"]


@dataclass(frozen=True, slots=True)
class _Entry:
    reduction: Reduction
    total: Fraction = Fraction(0)
    weight: Fraction = Fraction(0)
    nonfinite: float = 0.0  # sum of the infinities and NaNs met, which a rational cannot hold
    largest: float = -math.inf

    def plus(self, other: _Entry) -> _Entry:
        return replace(
            self,
            total=self.total + other.total,
            weight=self.weight + other.weight,
            nonfinite=self.nonfinite + other.nonfinite,
            largest=_larger(self.largest, other.largest),
        )

    def value(self) -> float | None:
        if self.reduction == "max":
            return self.largest
        if self.reduction == "mean":
            if self.weight == 0:
                return None
            return self.nonfinite + _float(self.total / self.weight)
        return self.nonfinite + _float(self.total)


class Meters:
    """Named metrics, each a mean, a sum or a maximum. Picklable; holds builtins only.

    >>> meters = Meters()
    >>> meters.mean("policy/kl", total=0.5, weight=2)  # 2 tokens, their values add up to 0.5
    >>> meters.mean("policy/kl", total=1.0, weight=1)
    >>> meters.values()
    {'policy/kl': 0.5}
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def mean(self, name: str, total: float, weight: float) -> None:
        """Add `total`, the sum of `weight` values (or of values whose weights add up to `weight`).

        Raises:
            ValueError: `weight` is negative or not finite, or `name` was declared otherwise before.
        """
        if not math.isfinite(weight) or weight < 0:
            raise ValueError(f"metric {name}: weight must be finite and not negative, got {weight}")
        entry = _entry("mean", float(total))
        self._add(name, replace(entry, weight=Fraction(float(weight))))

    def sum(self, name: str, value: float) -> None:
        """Add `value` to the sum `name`.

        Raises:
            ValueError: `name` was declared otherwise before.
        """
        self._add(name, _entry("sum", float(value)))

    def max(self, name: str, value: float) -> None:
        """Raise the maximum `name` to `value`; NaN wins over every number.

        Raises:
            ValueError: `name` was declared otherwise before.
        """
        self._add(name, _Entry("max", largest=float(value)))

    def merge(self, other: Meters) -> Self:
        """Add everything `other` holds to this one, and return this one.

        Associative and commutative: any order of merging gives the same values.

        Raises:
            ValueError: a name is reduced differently in the two.
        """
        for name, entry in other._entries.items():
            self._add(name, entry)
        return self

    def renamed(self, names: Mapping[str, str]) -> Meters:
        """The same metrics, those in `names` under other names."""
        result = Meters()
        result._entries = {names.get(name, name): entry for name, entry in self._entries.items()}
        return result

    @classmethod
    def merged(cls, parts: Iterable[Meters]) -> Self:
        """The sum of all `parts`, which stay as they are."""
        result = cls()
        for part in parts:
            result.merge(part)
        return result

    def values(self) -> dict[str, float]:
        """Every metric reduced, sorted by name. A mean without any weight is absent."""
        reduced = {name: entry.value() for name, entry in sorted(self._entries.items())}
        return {name: value for name, value in reduced.items() if value is not None}

    def _add(self, name: str, entry: _Entry) -> None:
        known = self._entries.get(name)
        if known is not None and known.reduction != entry.reduction:
            raise ValueError(f"metric {name} is a {known.reduction}, not a {entry.reduction}")
        self._entries[name] = entry if known is None else known.plus(entry)


def _entry(reduction: Reduction, total: float) -> _Entry:
    if math.isfinite(total):
        return _Entry(reduction, total=Fraction(total))
    return _Entry(reduction, nonfinite=total)


def _larger(a: float, b: float) -> float:
    if math.isnan(a) or math.isnan(b):
        return math.nan
    return max(a, b)


def _float(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf
