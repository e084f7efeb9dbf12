"""The console on a terminal: a bar that stays below a table with one row a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from medray.observability.console.base import count, evaluation_text, header_lines
from medray.observability.console.columns import COLUMNS, Column, Eta, Metrics


class RichConsole:
    """Bar with phase, elapsed and remaining time; above it the table.

    The columns are those whose metrics the first step has; of these, as many as the terminal holds.
    """

    def __init__(self, num_steps: int, stream: TextIO) -> None:
        self._num_steps = num_steps
        self._eta = Eta(num_steps)
        self._terminal = Terminal(file=stream, highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[count]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[phase]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._terminal,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task(
            "", total=num_steps, count=count(0, num_steps), phase="starting", left=""
        )
        self._columns: list[Column] = []

    def header(self, facts: Mapping[str, str]) -> None:
        """One line a fact, names dimmed."""
        width = max((len(name) for name in facts), default=0)
        for line in header_lines(facts):
            self._terminal.print(Text.assemble((line[:width], "dim"), line[width:]))

    def note(self, text: str) -> None:
        """Print the text above the progress bar."""
        self._terminal.print(Text(text, style="dim"))

    def phase(self, name: str) -> None:
        """Show beside the bar what the step is doing now; the first one starts the bar."""
        self._progress.update(self._task, phase=name)
        self._progress.start()

    def record(self, step: int, metrics: Metrics) -> None:
        """A row of the table, and the bar moved on."""
        if not self._columns:
            self._columns = self._fitting(metrics)
            titles = [column.title.rjust(_width(column)) for column in self._columns]
            self._print_row("step", titles, style="bold")
        cells = [(c.text(metrics) or "-").rjust(_width(c)) for c in self._columns]
        self._print_row(str(step), cells)
        left = self._eta.after(step, metrics)
        self._progress.update(
            self._task,
            completed=step,
            count=count(step, self._num_steps),
            left="" if left is None else f"{left} left",
        )

    def evaluation(self, step: int, metrics: Metrics) -> None:
        """The held-out values with 95% intervals, in colour between the rows."""
        self._print_row(str(step), [f"held out  {evaluation_text(metrics)}"], style="cyan")

    def close(self) -> None:
        """Stop the bar and leave the terminal as it was."""
        self._progress.update(self._task, phase="")
        self._progress.stop()

    def _fitting(self, metrics: Metrics) -> list[Column]:
        room = self._terminal.width - self._step_width()
        chosen = []
        for column in COLUMNS:
            if column.text(metrics) is not None and room >= _width(column) + 2:
                chosen.append(column)
                room -= _width(column) + 2
        return chosen

    def _step_width(self) -> int:
        return max(len("step"), len(str(self._num_steps)))

    def _print_row(self, first: str, cells: list[str], style: str = "") -> None:
        row = "  ".join([first.rjust(self._step_width()), *cells])
        self._terminal.print(Text(row, style=style), soft_wrap=True)


def _width(column: Column) -> int:
    return max(len(column.title), column.width)
