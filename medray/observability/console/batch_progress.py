"""Progress of batch inference: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY_S = 10.0


class BatchProgress:
    """Counts rows and tokens as chunks come back."""

    def __init__(self, num_rows: int, stream: TextIO | None = None) -> None:
        self._out = stream or sys.stdout
        self._num_rows = num_rows
        self._rows = self._tokens = self._errors = 0
        self._started = self._said = time.monotonic()
        self._bar: Progress | None = None

    def header(self, model: str, source: str, num_done: int) -> None:
        """Say what runs, and how much an earlier run has done."""
        done = f", {num_done} done before" if num_done else ""
        print(f"model {model}, input {source}: {self._num_rows} rows{done}", file=self._out)
        self._rows = num_done
        if self._out.isatty():
            self._bar = Progress(
                BarColumn(), TextColumn("{task.completed}/{task.total} rows  {task.description}"),
                TimeElapsedColumn(), TimeRemainingColumn(), console=Console(file=self._out),
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("loading", total=self._num_rows, completed=num_done)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add the finished rows of a chunk to the counts, and update the display."""
        self._rows += len({row["id"] for row in rows})
        self._tokens += sum(row["num_new_tokens"] for row in rows)
        self._errors += sum(row["error"] is not None for row in rows)
        text = f"{self._tokens / (time.monotonic() - self._started):,.0f} tok/s"
        text += f", {self._errors} errors" if self._errors else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=self._rows, description=text)
        elif time.monotonic() - self._said > EVERY_S or self._rows >= self._num_rows:
            self._said = time.monotonic()
            print(f"{self._rows}/{self._num_rows} rows  {text}", file=self._out, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()
