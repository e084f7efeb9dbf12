"""The table of an evaluation: one row per model, one column per metric."""

from __future__ import annotations

from collections.abc import Mapping

from medray.observability.formatting import estimate
from medray.observability.intervals import Interval

COLUMNS = {
    "form": "format",
    "right": "accuracy",
    "perplexity": "perplexity",
    "pairs": "pair accuracy",
}
"""Column -> its heading."""


def markdown(table: Mapping[str, Mapping[str, Interval]]) -> str:
    """The table with the ends of 95% intervals; "-" where a model has no such figure."""
    lines = [
        f"| model | {' | '.join(COLUMNS.values())} |",
        f"| --- |{' --- |' * len(COLUMNS)}",
    ]
    for name, cells in table.items():
        shown = [_cell(cells[column]) if column in cells else "-" for column in COLUMNS]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _cell(found: Interval) -> str:
    return estimate(found.value, found.low, found.high)
