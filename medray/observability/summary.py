"""A run's summary in words: a dozen lines that claim no more than the intervals allow."""

from __future__ import annotations

import math

from medray.observability.formatting import duration, estimate, number, percent, signed
from medray.observability.outcome import HeldOutChange, RunSummary, run_summary

__all__ = ["RunSummary", "format_summary", "run_summary"]

_INDENT = " " * 11


def format_summary(summary: RunSummary) -> str:
    """Plain text of 12 to 20 lines for a usual run, without a trailing newline."""
    steps = f"{summary.num_steps}, {duration(summary.wall_s)} in all"
    lines = [_line("run", summary.folder), _line("steps", steps)]
    name, (first, *others) = trend_words(summary)
    lines += [_line(name, first), *(_INDENT + text for text in others)]
    lines += _held_out_lines(summary)
    lines.append(_line("skill", skill_words(summary)))
    lines += _time_lines(summary)
    if summary.nonfinite:
        shown = ", ".join(f"{name} ({times}x)" for name, times in summary.nonfinite.items())
        lines.append(_line("not finite", shown))
    if summary.files:
        lines.append(_line("files", summary.files[0]))
        lines += [_INDENT + name for name in summary.files[1:]]
    return "\n".join(lines)


def trend_words(summary: RunSummary) -> tuple[str, list[str]]:
    """What is followed, the training reward or else the loss, and one or two sentences on it, early against late."""
    name = "loss" if summary.reward is None and summary.loss is not None else "reward"
    change = summary.loss if name == "loss" else summary.reward
    if change is None:
        return name, ["fewer than two steps were graded: nothing to compare"]
    quarter = "step" if change.num_steps == 1 else f"{change.num_steps} steps"
    error = (
        ""
        if math.isnan(change.standard_error)
        else f", standard error {number(change.standard_error)}"
    )
    first = (
        f"{number(change.first)} in the first {quarter}, {number(change.last)} in the last: "
        f"{signed(change.difference)}{error}"
    )
    if change.is_clear:
        way = "rose" if change.difference > 0 else "fell"
        return name, [first, f"{way} by more than two standard errors"]
    return name, [first, "no change beyond two standard errors"] if error else [first]


def skill_words(summary: RunSummary) -> str:
    """What may be said about medical skill: nothing, unless an accuracy left its interval."""
    accuracies = summary.accuracies
    if not accuracies:
        return "no held-out accuracy was measured, so no medical skill is claimed from this run"
    clear = [change for change in accuracies if change.is_clear]
    if not clear:
        return "held-out accuracy intervals overlap, so no medical skill is claimed from this run"
    moved = ", ".join(f"{change.name} {_way(change)}" for change in clear)
    return f"{moved} beyond the intervals: evidence on this task only, not of clinical competence"


def held_out_rows(summary: RunSummary) -> list[tuple[str, str, str, str]]:
    """Name, before, after and change of each held-out metric, as text."""
    return [
        (
            change.name,
            estimate(change.before.value, change.before.low, change.before.high),
            estimate(change.after.value, change.after.low, change.after.high),
            _change_words(change),
        )
        for change in summary.held_out
    ]


def phase_words(summary: RunSummary) -> str:
    """`generate 48%, update 40%`; phases below 1% are added up as `rest`."""
    shown = {name: share for name, share in summary.phases.items() if share >= 0.01}
    rest = sum(share for share in summary.phases.values() if share < 0.01)
    words = [f"{name} {percent(share)}" for name, share in shown.items()]
    return ", ".join([*words, f"rest {percent(rest)}"] if rest >= 0.005 else words)


def _held_out_lines(summary: RunSummary) -> list[str]:
    rows = held_out_rows(summary)
    if not rows:
        return [_line("held out", "evaluated fewer than twice: nothing to compare")]
    first, last = summary.evaluated_steps[0], summary.evaluated_steps[-1]
    table = [("95% intervals", f"step {first}", f"step {last}", ""), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    cells = [
        "  ".join([*(text.ljust(w) for text, w in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in table
    ]
    return [_line("held out", cells[0]), *(_INDENT + cell for cell in cells[1:])]


def _time_lines(summary: RunSummary) -> list[str]:
    if not summary.phases:
        return []
    median = f"median step {duration(summary.step_s)}: {phase_words(summary)}"
    return [_line("time", median)]


def _change_words(change: HeldOutChange) -> str:
    if change.is_clear:
        return f"{_way(change)}, intervals apart"
    return "intervals overlap" if change.has_intervals else ""


def _way(change: HeldOutChange) -> str:
    return "rose" if change.after.value > change.before.value else "fell"


def _line(name: str, text: str) -> str:
    return f"{name.ljust(len(_INDENT) - 1)} {text}"
