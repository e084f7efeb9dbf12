"""Progress for people: a bar and a table on a terminal, plain aligned lines elsewhere, or nothing.

A console is a metric sink, so the driver records a step once and the console shows it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Literal, Protocol, TextIO

from medray.observability.columns import COLUMNS, Eta, Metrics
from medray.observability.formatting import estimate
from medray.observability.held_out import headline, held_out
from medray.observability.sinks import MetricSink

Mode = Literal["auto", "rich", "plain", "quiet"]


class Console(MetricSink, Protocol):
    """A metric sink that also takes a header, notes and the phase a step is in."""

    def header(self, facts: Mapping[str, str]) -> None:
        """Say once what runs: run folder, model, data counts, resources."""
        ...

    def note(self, text: str) -> None:
        """Say something that is no metric, such as where a checkpoint lies."""
        ...

    def phase(self, name: str) -> None:
        """Say what the step is doing now; pass it to `StepTimer(on_phase=...)`."""
        ...


def open_console(mode: Mode, num_steps: int, stream: TextIO | None = None) -> Console:
    """The console for `logging.console`; "auto" is "rich" on a terminal and "plain" elsewhere.

    Args:
        mode: as configured.
        num_steps: steps of the whole run, for the bar and the time left.
        stream: where to; None takes stdout.
    """
    out = stream or sys.stdout
    if mode == "quiet":
        return QuietConsole()
    if mode == "rich" or (mode == "auto" and out.isatty()):
        from medray.observability.rich_console import RichConsole

        return RichConsole(num_steps, out)
    return PlainConsole(num_steps, out)


class QuietConsole:
    """Shows nothing."""

    def header(self, facts: Mapping[str, str]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def phase(self, name: str) -> None:
        """Nothing."""

    def record(self, step: int, metrics: Metrics) -> None:
        """Nothing."""

    def evaluation(self, step: int, metrics: Metrics) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


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
        """The text on its own line."""
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

    def close(self) -> None:
        """Nothing is buffered."""

    def _print(self, line: str) -> None:
        text = line.rstrip()
        if self._ascii:
            text = text.replace("±", "+/-").encode("ascii", "replace").decode("ascii")
        print(text, file=self._stream, flush=True)


def header_lines(facts: Mapping[str, str]) -> list[str]:
    """`name  value` lines with the values aligned."""
    width = max((len(name) for name in facts), default=0)
    return [f"{name.ljust(width)}  {value}" for name, value in facts.items()]


def count(step: int, num_steps: int) -> str:
    """` 3/30`, as wide as the last step's."""
    return f"{step:>{len(str(num_steps))}}/{num_steps}"


def evaluation_text(metrics: Metrics) -> str:
    """`accuracy 0.27 [0.20, 0.35]  reward 0.54 [0.50, 0.58]`."""
    values = headline(held_out(metrics)).items()
    return "  ".join(f"{name} {estimate(v.value, v.low, v.high)}" for name, v in values)


def _can_encode(stream: TextIO, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
