"""Outstanding calls whose results may arrive in any order, with a deadline for the silence of each actor."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from medray.actors.ray_calls.silence import Silence
from medray.actors.ray_calls.wait import Ref, fetch
from medray.errors import DeadlineExceeded


@dataclass(frozen=True)
class _Call:
    ticket: int
    actor: str
    about: str  # what the call is for


class Pending:
    """Outstanding Ray calls of one kind. Thread-safe.

    Actors answer in the order in which they are asked, so a call's time begins once its actor has answered the call
    before: a full queue makes nobody late.
    """

    def __init__(self, doing: str, deadline_s: float, key: str) -> None:
        """`deadline_s`: longest silence of an actor that has calls; `key`: the setting it comes from, for messages."""
        self.doing = doing
        self.deadline_s = deadline_s
        self.key = key
        self._calls: dict[Ref, _Call] = {}
        self._num_calls: Counter[str] = Counter()  # by actor
        self._silence = Silence()
        self._lock = threading.RLock()

    def add(self, ref: Ref, ticket: int, actor: str, about: str) -> None:
        """Add a call to wait for.

        Args:
            ref: of the result.
            ticket: key under which `take` returns the result.
            actor: the name of the actor that computes it.
            about: what it is for, for messages: `prompt a`.
        """
        with self._lock:
            if not self._num_calls[actor]:
                self._silence.heard(actor)
            self._num_calls[actor] += 1
            self._calls[ref] = _Call(ticket, actor, about)

    def refs(self) -> list[Ref]:
        """Refs to wait for: `take` has work to do once one of them is ready."""
        with self._lock:
            return list(self._calls)

    def take(self, ready: Iterable[Ref]) -> dict[int, Any]:
        """Fetch the results among `ready`, by ticket; refs of other calls are ignored.

        Raises:
            DeadlineExceeded: an actor is silent; the message names it.
            WorkerLost: an actor died.
            MedrayError: an actor raised it.
        """
        found: dict[int, Any] = {}
        with self._lock:
            for ref in ready:
                if (call := self._calls.get(ref)) is not None:
                    name = f"{call.actor} ({call.about})"
                    found[call.ticket] = fetch(ref, name=name, doing=self.doing)
                    del self._calls[ref]
                    self._num_calls[call.actor] -= 1
                    self._silence.heard(call.actor)
            self._require_progress()
        return found

    def _require_progress(self) -> None:
        late = self._silence.late(
            lambda: {actor: self.deadline_s for actor, num in self._num_calls.items() if num}
        )
        if late:
            first: dict[str, _Call] = {}  # what each actor is at
            for call in self._calls.values():
                first.setdefault(call.actor, call)
            texts = ", ".join(f"{actor} ({first[actor].about})" for actor in late)
            raise DeadlineExceeded(
                f"{self.doing}: no answer from {texts} for {self.deadline_s:g} s ({self.key})",
                tuple(late),
            )
