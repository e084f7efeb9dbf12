"""Held-out metrics: `eval/<name>` with the ends of its 95% interval in `_low` and `_high`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from medray.observability.intervals import Interval

_PREFIX = "eval/"


def held_out(metrics: Mapping[str, float]) -> dict[str, Interval]:
    """The `eval/` metrics by name, in their order; without `_low` and `_high` the ends are NaN."""
    named = {key.removeprefix(_PREFIX): v for key, v in metrics.items() if key.startswith(_PREFIX)}
    ends = {f"{name}_{end}" for name in named for end in ("low", "high")}
    return {
        name: Interval(
            value, named.get(f"{name}_low", math.nan), named.get(f"{name}_high", math.nan), 0
        )
        for name, value in named.items()
        if name not in ends
    }


def is_accuracy(name: str) -> bool:
    """True of metrics that count right answers, the only ones that speak of skill."""
    return "accuracy" in name.lower()
