"""Which charts a run's report shows, made from the rows of `metrics.jsonl`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from medray.observability.formatting import duration, number, percent
from medray.observability.held_out import held_out
from medray.observability.report.svg import Series, line_chart, stacked_bars
from medray.storage.metrics_file import MetricRow

MAX_POINTS = 240
_NOT_PARTS = ("mean", "sem", "std", "min", "max")
_LINES: tuple[tuple[str, tuple[str, ...], Callable[[float], str]], ...] = (
    ("Training loss", ("loss/total",), number),
    (
        "Share of tokens, pairs or steps predicted correctly",
        ("lm/token_accuracy", "reward/accuracy", "process/step_accuracy", "preference/accuracy"),
        percent,
    ),
    ("KL divergence, nats", ("policy/kl_ref", "policy/kl_behaviour"), number),
    ("Shares of responses and tokens", ("rollout/stop_share", "policy/clip_share"), percent),
    ("Response length, tokens", ("rollout/length_mean",), number),
    ("Entropy, nats a token", ("policy/entropy",), number),
    ("Gradient norm before clipping", ("optim/grad_norm",), number),
    ("Learning rate", ("optim/lr",), "{:.1e}".format),
    ("Largest log-probability gap after a sync, nats", ("sync/max_logprob_gap",), "{:.1e}".format),
    ("Groups without signal: tied, and replaced", ("groups/tied", "groups/dropped"), number),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with what stands around it; `legend[i]` is drawn in colour `s{i+1}`."""

    title: str
    caption: str
    svg: str
    legend: tuple[str, ...]


def run_figures(rows: Sequence[MetricRow]) -> list[Figure]:
    """The charts for which the run has values, the most telling first."""
    train = [row for row in rows if row.kind == "train"]
    points, bin_size = binned(train, MAX_POINTS)
    note = "" if bin_size == 1 else f"Each point is the mean of {bin_size} steps."
    evaluations = [row for row in rows if row.kind == "eval"]
    figures = [_reward(points, note), _held_out(evaluations), _parts(points, note)]
    figures += [_lines(points, title, names, show, note) for title, names, show in _LINES[:4]]
    figures.append(_step_time(points, note))
    figures += [_lines(points, title, names, show, note) for title, names, show in _LINES[4:]]
    return [figure for figure in figures if figure is not None]


def binned(rows: Sequence[MetricRow], limit: int) -> tuple[list[MetricRow], int]:
    """At most `limit` rows, each the mean of as many consecutive ones, and how many those are."""
    size = max(1, math.ceil(len(rows) / limit))
    if size == 1:
        return list(rows), 1
    return [_mean_row(rows[i : i + size]) for i in range(0, len(rows), size)], size


def _mean_row(rows: Sequence[MetricRow]) -> MetricRow:
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    values = {name: [row.metrics[name] for row in rows if name in row.metrics] for name in names}
    means = {
        name: fmean(finite)
        for name, all_values in values.items()
        if (finite := [value for value in all_values if math.isfinite(value)])
    }
    return MetricRow(rows[-1].step, rows[-1].kind, means)


def _reward(rows: Sequence[MetricRow], note: str) -> Figure | None:
    curve = _series(rows, "reward/mean", "mean reward")
    if curve is None:
        return None
    sems = [row.metrics.get("reward/sem", math.nan) for row in rows]
    caption = note
    if any(math.isfinite(sem) for sem in sems):
        lows = [y - 1.96 * sem for y, sem in zip(curve.ys, sems, strict=True)]
        highs = [y + 1.96 * sem for y, sem in zip(curve.ys, sems, strict=True)]
        curve = Series(curve.name, curve.xs, curve.ys, lows, highs)
        caption = f"The band is ±1.96 standard errors of a step's responses. {note}"
    return Figure("Training reward", caption, line_chart("Training reward", [curve]), ())


def _parts(rows: Sequence[MetricRow], note: str) -> Figure | None:
    names = dict.fromkeys(
        name for row in rows for name in row.metrics if name.startswith("reward/")
    )
    scores = [name for name in names if name.endswith("/score")]
    # The score of the only reward in the mixture is the reward once more.
    left_out = {*(f"reward/{name}" for name in _NOT_PARTS), *(scores if len(scores) == 1 else ())}
    parts = tuple(name for name in names if name not in left_out)
    return _lines(rows, "Parts of the reward", parts, number, note)


def _lines(
    rows: Sequence[MetricRow],
    title: str,
    names: Sequence[str],
    show: Callable[[float], str],
    note: str,
) -> Figure | None:
    curves = [curve for name in names if (curve := _series(rows, name, _short(name))) is not None]
    if not curves:
        return None
    y_range = (0.0, 1.0) if show is percent else None
    svg = line_chart(title, curves, show=show, y_range=y_range)
    return Figure(title, note, svg, tuple(curve.name for curve in curves))


def _held_out(evaluations: Sequence[MetricRow]) -> Figure | None:
    values = [held_out(row.metrics) for row in evaluations]
    names = [
        name
        for name in dict.fromkeys(name for row in values for name in row)
        if any(math.isfinite(row[name].low) for row in values if name in row)
    ]
    if not names:
        return None
    series = []
    for index, name in enumerate(names):
        found = [
            (e.step, row[name]) for e, row in zip(evaluations, values, strict=True) if name in row
        ]
        series.append(
            Series(
                name,
                [step for step, _ in found],
                [interval.value for _, interval in found],
                [interval.low for _, interval in found],
                [interval.high for _, interval in found],
                shift=5 * (index - (len(names) - 1) / 2),
            )
        )
    title = "Held-out values"
    caption = "Bars are 95% intervals; where they overlap, the values may well be equal."
    return Figure(title, caption, line_chart(title, series, whiskers=True), tuple(names))


def _step_time(rows: Sequence[MetricRow], note: str) -> Figure | None:
    timed = [row for row in rows if math.isfinite(row.metrics.get("time/step_s", math.nan))]
    names = dict.fromkeys(
        name
        for row in timed
        for name in row.metrics
        if name.startswith("time/") and name.endswith("_s") and name != "time/step_s"
    )
    if not names:
        return None
    # The remainder goes on top, the phases below it in the order in which they run.
    ordered = sorted(names, key=lambda name: name == "time/other_s")
    layers = [
        Series(
            name.removeprefix("time/").removesuffix("_s"),
            [row.step for row in timed],
            [row.metrics.get(name, 0.0) for row in timed],
        )
        for name in ordered
    ]
    title = "Seconds of a step, by phase"
    svg = stacked_bars(title, [row.step for row in timed], layers, show=duration)
    return Figure(title, note, svg, tuple(layer.name for layer in layers))


def _series(rows: Sequence[MetricRow], name: str, label: str) -> Series | None:
    ys = [row.metrics.get(name, math.nan) for row in rows]
    if not any(map(math.isfinite, ys)):
        return None
    return Series(label, [row.step for row in rows], ys)


def _short(name: str) -> str:
    return name.partition("/")[2].replace("_", " ")
