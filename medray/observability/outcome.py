"""What a run did, in numbers: reward early and late, held-out values before and after, time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, variance

from medray.observability.held_out import held_out, is_accuracy
from medray.observability.intervals import Interval
from medray.storage.metrics_file import METRICS_FILE, MetricRow, read_metrics


@dataclass(frozen=True, slots=True)
class RewardChange:
    """Mean training reward, or loss, of the first and of the last quarter of the steps."""

    first: float
    last: float
    standard_error: float  # of last - first; NaN where it cannot be told
    num_steps: int  # of each quarter

    @property
    def difference(self) -> float:
        """Change of the mean reward from the first to the last steps."""
        return self.last - self.first

    @property
    def is_clear(self) -> bool:
        """True when the difference, up or down, exceeds two standard errors."""
        return abs(self.difference) > 2 * self.standard_error


@dataclass(frozen=True, slots=True)
class HeldOutChange:
    """One held-out metric at the first and at the last evaluation."""

    name: str
    before: Interval
    after: Interval

    @property
    def has_intervals(self) -> bool:
        """True when both evaluations gave the ends of a 95% interval."""
        ends = (self.before.low, self.before.high, self.after.low, self.after.high)
        return not any(map(math.isnan, ends))

    @property
    def is_clear(self) -> bool:
        """True when the two intervals do not overlap."""
        return self.has_intervals and not self.before.overlaps(self.after)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The outcome of a run, made from its `metrics.jsonl` alone."""

    folder: str
    num_steps: int
    wall_s: float
    reward: RewardChange | None
    loss: RewardChange | None  # of a supervised run; the difference is a fall when negative
    evaluated_steps: tuple[int, ...]
    held_out: tuple[HeldOutChange, ...]
    step_s: float  # median seconds of a step; NaN when not measured
    phases: dict[str, float]  # share of the step time, the largest first
    nonfinite: dict[str, int]  # metric -> steps in which it was not finite
    files: tuple[str, ...]  # what lies in the folder, relative to it

    @property
    def accuracies(self) -> tuple[HeldOutChange, ...]:
        """The held-out metrics that count right answers."""
        return tuple(change for change in self.held_out if is_accuracy(change.name))


def run_summary(folder: str | Path) -> RunSummary:
    """Read the run in `folder`.

    Raises:
        DataError: `metrics.jsonl` is missing or damaged.
    """
    rows = read_metrics(folder)
    train = [row for row in rows if row.kind == "train"]
    evaluations = [row for row in rows if row.kind == "eval"]
    seconds = _finite(train, "time/step_s")
    return RunSummary(
        folder=str(folder),
        num_steps=train[-1].step if train else 0,
        wall_s=rows[-1].wall_s if rows else 0.0,
        reward=reward_change(train),
        loss=reward_change(train, "loss/total"),
        evaluated_steps=tuple(row.step for row in evaluations),
        held_out=_held_out_changes(evaluations),
        step_s=median(seconds) if seconds else math.nan,
        phases=phase_shares(train),
        nonfinite=_nonfinite(rows),
        files=tuple(_files(Path(folder))),
    )


def reward_change(train: Sequence[MetricRow], name: str = "reward/mean") -> RewardChange | None:
    """First against last quarter of the steps; None with fewer than two steps that have a metric `name`.

    The standard error comes from the spread of the step means within each quarter, or, where a
    quarter is a single step, from the `reward/sem` of the two steps. It takes steps as independent
    and leaves out the choice of seed: one run says little about another.
    """
    graded = [row for row in train if math.isfinite(row.metrics.get(name, math.nan))]
    if len(graded) < 2:
        return None
    size = max(1, len(graded) // 4)
    first, last = graded[:size], graded[-size:]
    errors = [_squared_error(first, name), _squared_error(last, name)]
    means = [fmean(row.metrics[name] for row in rows) for rows in (first, last)]
    return RewardChange(means[0], means[1], math.sqrt(sum(errors)), size)


def phase_shares(train: Sequence[MetricRow]) -> dict[str, float]:
    """Share of all step seconds each `time/<phase>_s` took, `other` included, largest first."""
    totals: dict[str, float] = {}
    for row in train:
        for name, value in row.metrics.items():
            if name.startswith("time/") and name.endswith("_s") and math.isfinite(value):
                phase = name.removeprefix("time/").removesuffix("_s")
                totals[phase] = totals.get(phase, 0.0) + value
    whole = totals.pop("step", 0.0)
    if whole <= 0:
        return {}
    return {name: totals[name] / whole for name in sorted(totals, key=lambda n: -totals[n])}


def _squared_error(rows: Sequence[MetricRow], name: str) -> float:
    if len(rows) == 1:
        return rows[0].metrics.get(name.removesuffix("mean") + "sem", math.nan) ** 2
    return variance(row.metrics[name] for row in rows) / len(rows)


def _held_out_changes(evaluations: Sequence[MetricRow]) -> tuple[HeldOutChange, ...]:
    if len(evaluations) < 2:
        return ()
    before, after = (held_out(evaluations[i].metrics) for i in (0, -1))
    return tuple(HeldOutChange(name, before[name], after[name]) for name in before if name in after)


def _finite(rows: Sequence[MetricRow], name: str) -> list[float]:
    values = (row.metrics.get(name, math.nan) for row in rows)
    return [value for value in values if math.isfinite(value)]


def _nonfinite(rows: Sequence[MetricRow]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        for name, value in row.metrics.items():
            if not math.isfinite(value):
                counts[name] = counts.get(name, 0) + 1
    return counts


def _files(folder: Path) -> list[str]:
    checkpoints = [
        path.name
        for path in folder.glob("checkpoints/step_*")
        if path.name.removeprefix("step_").isdigit()
    ]
    newest = max(checkpoints, key=lambda name: int(name.removeprefix("step_")), default=None)
    found = [f"checkpoints/{newest}"] if newest else []
    num_rollouts = len(list(folder.glob("rollouts/step_*.parquet")))
    if num_rollouts:
        found.append(f"rollouts/ ({num_rollouts} steps)")
    names = (METRICS_FILE, "events", "config.json", "provenance.json", "report.html")
    return found + [name for name in names if (folder / name).exists()]
