"""Where the seconds of a step went, as the driver sees them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_RESERVED = ("step", "other")


class StepTimer:
    """Splits a step into phases that follow one another, and a remainder.

    >>> timer = StepTimer()
    >>> with timer("generate"):
    ...     pass
    >>> sorted(timer.seconds())
    ['time/generate_s', 'time/other_s', 'time/step_s']

    Args:
        clock_ns: a monotonic clock in nanoseconds.
        on_phase: told the name of each phase as it begins, such as `Console.phase`.
    """

    def __init__(
        self,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        on_phase: Callable[[str], None] | None = None,
    ) -> None:
        self._clock_ns = clock_ns
        self._on_phase = on_phase
        self._open: str | None = None
        self.start_step()

    def start_step(self) -> None:
        """Forget the phases so far and count the step from now.

        Raises:
            RuntimeError: a phase is open.
        """
        self._refuse_inside("start_step()")
        self._phases_ns: dict[str, int] = {}
        self._started_ns = self._clock_ns()

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Count the block as `phase`, also when it fails; a phase may recur within a step.

        Raises:
            RuntimeError: another phase is open.
            ValueError: `phase` is "step" or "other", which name the whole and the remainder.
        """
        self._refuse_inside(f"timer({phase!r})")
        if phase in _RESERVED:
            raise ValueError(f"timer({phase!r}): the name is reserved (time/{phase}_s)")
        if self._on_phase is not None:
            self._on_phase(phase)
        self._open, began_ns = phase, self._clock_ns()
        try:
            yield
        finally:
            self._phases_ns[phase] = self._phases_ns.get(phase, 0) + self._clock_ns() - began_ns
            self._open = None

    def seconds(self) -> dict[str, float]:
        """Seconds of each phase since `start_step`, of the step, and of what no phase covers.

        Returns:
            `time/<phase>_s` in order of first use, `time/other_s` and `time/step_s`; counted in
            whole nanoseconds, so phases and remainder add up to the step.

        Raises:
            RuntimeError: a phase is open.
        """
        self._refuse_inside("seconds()")
        step_ns = self._clock_ns() - self._started_ns
        other_ns = step_ns - sum(self._phases_ns.values())
        spans_ns = {**self._phases_ns, "other": other_ns, "step": step_ns}
        return {f"time/{name}_s": span_ns / 1e9 for name, span_ns in spans_ns.items()}

    def _refuse_inside(self, call: str) -> None:
        if self._open is not None:
            raise RuntimeError(f"{call} inside timer({self._open!r}): phases cannot be nested")
