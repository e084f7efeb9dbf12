"""How often a group may fail before it is dropped or ends the run."""

from __future__ import annotations

from collections import Counter
from typing import Literal


class Retries:
    """Counts the failures of each group that is under way."""

    def __init__(self, most: int, on_failure: Literal["stop", "drop"]) -> None:
        """Allow `most` further tries; then stop the run, or drop the group."""
        self.most = most
        self.on_failure = on_failure
        self._failures: Counter[int] = Counter()  # by ticket

    def again(self, ticket: int, error: Exception) -> bool:
        """Note a failure; returns whether to try the group again, False to drop it.

        Raises:
            Exception: `error`, where this was the last try and the run is to stop.
        """
        self._failures[ticket] += 1
        if self._failures[ticket] <= self.most:
            return True
        if self.on_failure == "stop":
            raise error
        self.forget(ticket)
        return False

    def forget(self, ticket: int) -> None:
        """Drop what is known of a group that is whole or given up."""
        self._failures.pop(ticket, None)
