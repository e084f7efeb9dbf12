"""What a console is, and the text that every console shares.

A console is a metric sink: the training loop records a step once and the console shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from medray.observability.console.columns import Metrics
from medray.observability.formatting import estimate
from medray.observability.held_out import headline, held_out
from medray.observability.sinks import MetricSink


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
