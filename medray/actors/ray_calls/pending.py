"""Outstanding calls whose results may arrive in any order, each within a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from medray.actors.ray_calls.wait import Ref, fetch
from medray.errors import DeadlineExceeded


@dataclass(frozen=True)
class _Call:
    ticket: int
    name: str
    asked: float  # monotonic seconds


class Pending:
    """Outstanding Ray calls of one kind, each within a deadline. Thread-safe."""

    def __init__(self, doing: str, deadline_s: float) -> None:
        self.doing = doing
        self.deadline_s = deadline_s
        self._calls: dict[Ref, _Call] = {}
        self._lock = threading.RLock()

    def add(self, ref: Ref, ticket: int, name: str) -> None:
        """Add a call to wait for; its deadline starts now.

        Args:
            ref: of the result.
            ticket: key under which `take` returns the result.
            name: the actor that computes it, for messages.
        """
        with self._lock:
            self._calls[ref] = _Call(ticket, name, time.monotonic())

    def refs(self) -> list[Ref]:
        """Refs to wait for: `take` has work to do once one of them is ready."""
        with self._lock:
            return list(self._calls)

    def take(self, ready: Iterable[Ref]) -> dict[int, Any]:
        """Fetch the results among `ready`, by ticket; refs of other calls are ignored.

        Raises:
            DeadlineExceeded: a result is late; the message names the actor.
            WorkerLost: an actor died.
            MedrayError: an actor raised it.
        """
        found: dict[int, Any] = {}
        with self._lock:
            for ref in ready:
                if (call := self._calls.pop(ref, None)) is not None:
                    found[call.ticket] = fetch(ref, name=call.name, doing=self.doing)
            oldest = time.monotonic() - self.deadline_s
            if late := [call.name for call in self._calls.values() if call.asked < oldest]:
                self._calls.clear()
                raise DeadlineExceeded(
                    f"{self.doing}: no answer from {', '.join(late)} within {self.deadline_s:g} s",
                    tuple(late),
                )
        return found
