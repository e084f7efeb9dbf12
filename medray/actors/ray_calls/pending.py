"""Calls under way whose answers may come in any order, each within a deadline."""

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
        """Wait for `ref`, too.

        Args:
            ref: of the answer.
            ticket: what the answer will come under.
            name: who has to give it, for messages.
        """
        with self._lock:
            self._calls[ref] = _Call(ticket, name, time.monotonic())

    def refs(self) -> list[Ref]:
        """What to wait for: one of these is ready when `take` has something to do."""
        with self._lock:
            return list(self._calls)

    def take(self, ready: Iterable[Ref]) -> dict[int, Any]:
        """Answers that have come, by ticket; refs of others are passed over.

        Raises:
            DeadlineExceeded: an answer is late; names who owes it.
            WorkerLost: whoever owes one died.
            MedrayError: whatever was raised on purpose there.
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
