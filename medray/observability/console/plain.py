"""Consoles without a terminal: aligned lines, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from medray.observability.console.base import count, evaluation_text, header_lines
from medray.observability.console.columns import COLUMNS, Eta, Metrics


class QuietConsole:
    """Console that discards everything, as ranks other than 0 do."""

    def header(self, facts: Mapping[str, str]) -> None: ...

    def note(self, text: str) -> None: ...

    def phase(self, name: str) -> None: ...

    def record(self, step: int, metrics: Metrics) -> None: ...

    def evaluation(self, step: int, metrics: Metrics) -> None: ...

    def close(self) -> None: ...


class PlainConsole:
    """One line a step: `step  3/30  reward 0.31 ±0.05  stop 45%  1,204 tok/s  22.4 s  eta 9 min`"""

    def __init__(self, num_steps: int, stream: TextIO) -> None:
        self._num_steps = num_steps
        self._stream = stream
        self._eta = Eta(num_steps)
        self._ascii = not _can_encode(stream, "±")

    def header(self, facts: Mapping[str, str]) -> None:
        """One line a fact, values aligned."""
        for line in header_lines(facts):
            self._print(line)

    def note(self, text: str) -> None:
        """Print the text on a line of its own."""
        self._print(text)

    def phase(self, name: str) -> None:
        """Nothing: a line a phase would drown the steps."""

    def record(self, step: int, metrics: Metrics) -> None:
        """The line of a training step."""
        cells = [cell for column in COLUMNS if (cell := column.labelled(metrics)) is not None]
        left = self._eta.after(step, metrics)
        if left is not None:
            cells.append(f"eta {left}")
        self._print("  ".join([f"step {count(step, self._num_steps)}", *cells]))

    def evaluation(self, step: int, metrics: Metrics) -> None:
        """The line of an evaluation, with 95% intervals."""
        self._print(f"eval {count(step, self._num_steps)}  {evaluation_text(metrics)}")

    def close(self) -> None: ...

    def _print(self, line: str) -> None:
        text = line.rstrip()
        if self._ascii:
            text = text.replace("±", "+/-").encode("ascii", "replace").decode("ascii")
        print(text, file=self._stream, flush=True)


def _can_encode(stream: TextIO, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
