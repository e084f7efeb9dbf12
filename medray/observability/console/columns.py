"""What the console shows of a step: one cell a column, absent metrics left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from medray.observability.formatting import duration, number, percent

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Column:
    """`title` heads the table; `text` gives the cell; `unit_last` writes `22.4 s`, not `s 22.4`."""

    title: str
    width: int
    text: Callable[[Metrics], str | None]
    unit_last: bool = False

    def labelled(self, metrics: Metrics) -> str | None:
        """The cell with its title, padded so that the lines of a run align; None if absent."""
        text = self.text(metrics)
        if text is None:
            return None
        if self.unit_last:
            return f"{text.rjust(self.width)} {self.title}"
        return f"{self.title} {text.ljust(self.width)}"


def _of(name: str, shown: Callable[[float], str]) -> Callable[[Metrics], str | None]:
    return lambda metrics: shown(metrics[name]) if name in metrics else None


def _reward(metrics: Metrics) -> str | None:
    if "reward/mean" not in metrics:
        return None
    mean = f"{metrics['reward/mean']:.2f}"
    sem = metrics.get("reward/sem", math.nan)
    return mean if math.isnan(sem) else f"{mean} ±{sem:.2f}"


def _drift(metrics: Metrics) -> str | None:
    if "policy/kl_ref" in metrics:
        return None
    return _of("policy/kl_behaviour", number)(metrics)


def _seconds(value: float) -> str:
    return f"{value:.1f}"


def _accuracy(metrics: Metrics) -> str | None:
    names = ("reward/accuracy", "process/step_accuracy", "preference/accuracy", "lm/token_accuracy")
    name = next((n for n in names if n in metrics), None)
    return None if name is None else percent(metrics[name])


def _loss(metrics: Metrics) -> str | None:
    return None if "reward/mean" in metrics else _of("loss/total", number)(metrics)


COLUMNS = (
    Column("loss", 6, _loss),
    Column("right", 4, _accuracy),
    Column("reward", 11, _reward),
    Column("stop", 4, _of("rollout/stop_share", percent)),
    Column("length", 5, _of("rollout/length_mean", number)),
    Column("tied", 3, _of("groups/tied", lambda value: f"{value:.0f}")),
    Column("kl", 7, _of("policy/kl_ref", number)),
    Column("kl_old", 7, _drift),
    Column("grad", 6, _of("optim/grad_norm", number)),
    Column("tok/s", 6, _of("rollout/tokens_per_s", lambda value: f"{value:,.0f}"), unit_last=True),
    Column("tok/s", 6, _of("data/tokens_per_s", lambda value: f"{value:,.0f}"), unit_last=True),
    Column("s", 5, _of("time/step_s", _seconds), unit_last=True),
)


class Eta:
    """Time left, from the median of the last ten steps, so that one slow start does not mislead."""

    def __init__(self, num_steps: int) -> None:
        self._num_steps = num_steps
        self._recent_s: list[float] = []

    def after(self, step: int, metrics: Metrics) -> str | None:
        """`9 min` once a step's `time/step_s` is known; None before that and at the end."""
        step_s = metrics.get("time/step_s", math.nan)
        if math.isfinite(step_s):
            self._recent_s = [*self._recent_s[-9:], step_s]
        if not self._recent_s or step >= self._num_steps:
            return None
        middle = sorted(self._recent_s)[len(self._recent_s) // 2]
        return duration(middle * (self._num_steps - step), decimals=0)
