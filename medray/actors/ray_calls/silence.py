"""Deadlines that measure silence: how long a worker that has something to answer has answered nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

LOOK_S = 1.0  # longest time between two looks


class Silence:
    """Clocks of workers, each set back by whatever its worker answers. Time in which nobody listened does not count."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}  # monotonic seconds
        self._look_again = 0.0  # when the next look is due, monotonic seconds

    def heard(self, worker: str) -> None:
        """Set a worker's clock back: it answered, or is given work while it has none."""
        self._heard[worker] = time.monotonic()

    def late(self, busy: Callable[[], Mapping[str, float]]) -> list[str]:
        """Workers that were silent for longer than their limit; looks at most once a second.

        Args:
            busy: returns the limit, in seconds, of each worker that has something to answer; called where it is time to
                look, since this is asked at every result.
        """
        now = time.monotonic()
        if now < self._look_again or not (limits := busy()):
            return []
        shortest = min(limits.values())
        if (
            now - self._look_again > shortest / 2
        ):  # the caller was stopped: the silence may be its own
            self._heard |= dict.fromkeys(self._heard, now)
        self._look_again = now + min(LOOK_S, shortest / 4)
        return [w for w, limit in limits.items() if now - self._heard.setdefault(w, now) > limit]
