"""Progress of a preparation: a line that renews itself on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Protocol, TextIO

from rich.console import Console as Terminal
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

_EVERY_S = 10.0


class Summary(Protocol):
    """Result that can describe itself, for the last line of a command."""

    def summary(self) -> str:
        """Format the result on one line for the terminal."""
        ...


class PrepareConsole:
    """Rows, rows a second, shards and drops, as they come."""

    def __init__(self, out: str, stream: TextIO | None = None) -> None:
        """
        Args:
            out: the folder that is written.
            stream: where to; None takes stdout.
        """
        self._out = out
        self._stream = stream or sys.stdout
        self._began = time.monotonic()
        self._shown = self._began
        self._first: int | None = None
        self._progress: Progress | None = None
        if self._stream.isatty():
            terminal = Terminal(file=self._stream, highlight=False)
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._progress = Progress(*columns, console=terminal, transient=True)
            self._task = self._progress.add_task("starting", total=None)
            self._progress.start()

    def show(self, counts: Mapping[str, int], num_shards: int) -> None:
        """Say where the preparation is."""
        read = counts["read"]
        if self._first is None:
            self._first, self._began = read, time.monotonic()
            return
        now = time.monotonic()
        rate = (read - self._first) / max(now - self._began, 1e-9)
        dropped = read - counts["kept"]
        text = f"{read:,} rows  {rate:,.0f} rows/s  {dropped:,} dropped  {num_shards} shards"
        if self._progress is not None:
            self._progress.update(self._task, description=text)
        elif now - self._shown >= _EVERY_S:
            self._shown = now
            print(text, file=self._stream, flush=True)

    def finish(self, manifest: Summary, *, resumed: bool = False) -> None:
        """Say what is in the folder."""
        if self._progress is not None:
            self._progress.stop()
        state = "is already prepared" if resumed else "is prepared"
        print(f"{self._out} {state}: {manifest.summary()}", file=self._stream, flush=True)
