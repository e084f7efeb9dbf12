"""Held-out metrics: `eval/<name>` with the ends of its 95% interval in `_low` and `_high`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from medray.observability.intervals import Interval

PREFIX = "eval/"
"""What every held-out metric's name begins with."""
_HEADLINE = ("reward", "stop_share", "loss/total", "lm/perplexity")
_OF_TRAINING = ("lm/", "reward/", "preference/")
_RIGHT = ("right", "correct", "exact")


def held_out(metrics: Mapping[str, float]) -> dict[str, Interval]:
    """The `eval/` metrics by name, in their order; without `_low` and `_high` the ends are NaN.

    Left out: counts (`num_...`), and the score of a single reward, which is the reward once more.
    """
    named = {key.removeprefix(PREFIX): v for key, v in metrics.items() if key.startswith(PREFIX)}
    ends = {f"{name}_{end}" for name in named for end in ("low", "high")}
    return {
        name: Interval(
            value, named.get(f"{name}_low", math.nan), named.get(f"{name}_high", math.nan), 0
        )
        for name, value in named.items()
        if name not in ends and not name.startswith("num_") and not _repeats(name, named)
    }


def with_ends(name: str, found: Interval) -> dict[str, float]:
    """The metric `name` with the ends of its interval, as `held_out` reads them back."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def is_accuracy(name: str) -> bool:
    """True of metrics that count right answers, the only ones that speak of skill.

    These are names that contain "accuracy", and reward parts called right, correct or exact. How often a next
    token or the better of a pair is told says nothing of skill.
    """
    if name.startswith(_OF_TRAINING):
        return False
    return "accuracy" in name.lower() or name.rpartition("/")[2] in _RIGHT


def headline(values: Mapping[str, Interval]) -> dict[str, Interval]:
    """What fits on one line: reward, loss, accuracies and stop share; everything if none is there."""
    chosen = {
        name: interval
        for name, interval in values.items()
        if name in _HEADLINE or "accuracy" in name or is_accuracy(name)
    }
    return chosen or dict(values)


def _repeats(name: str, named: Mapping[str, float]) -> bool:
    return name.endswith("/score") and "reward" in named and named[name] == named["reward"]
