"""Whose answer is being written, and which question waits for its end: one answer at a time in a browser's tab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Turn:
    """One answer, from its question to its end."""

    is_running: bool = False  # else it was asked for, and begins in a moment
    is_stopped: bool = False
    waiting: list[str] = field(default_factory=list)


class Turns:
    """By session of the page; held by its process, since what a page sends along is as old as its last event.

    All of it runs in the page's event loop, and between two calls here nothing else does.
    """

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}

    def ask(self, session: str) -> bool:
        """Claim the next answer; False while another is asked for or being written."""
        if session in self._turns:
            return False
        self._turns[session] = Turn()
        return True

    @contextmanager
    def running(self, session: str) -> Iterator[Turn | None]:
        """The answer that was asked for is being written during the block; yields None where none was."""
        turn = self._turns.get(session)
        if turn is None or turn.is_running:
            yield None
            return
        turn.is_running = True
        try:
            yield turn
        finally:
            if self._turns.get(session) is turn:
                del self._turns[session]

    def keep(self, session: str, question: str) -> None:
        """Keep a question until the answer is written."""
        self._turns[session].waiting.append(question)

    def waiting(self, session: str) -> str:
        """The question that waits; several are one, line by line; empty where none does."""
        return "\n".join(self._turns[session].waiting) if session in self._turns else ""

    def take(self, session: str) -> str:
        """The question that waited, to be answered next."""
        question = self.waiting(session)
        if question:
            self._turns[session].waiting = []
        return question

    def stop(self, session: str) -> str:
        """Nothing is being written any more; returns the question that waited."""
        question = self.waiting(session)
        if (turn := self._turns.pop(session, None)) is not None:
            turn.is_stopped = True
        return question
