"""Whose answer is being written, and which question waits for its end: one answer at a time in a browser's tab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Turn:
    is_running: bool = False
    waiting: list[str] = field(default_factory=list)


class Turns:
    """By session of the page; held by its process, since what a page sends along is as old as its last event."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    def is_running(self, session: str) -> bool:
        """Whether an answer is being written."""
        return session in self._turns and self._turns[session].is_running

    @contextmanager
    def running(self, session: str) -> Iterator[None]:
        """An answer is being written during the block, however it ends."""
        turn = self._turns.setdefault(session, _Turn())
        turn.is_running = True
        try:
            yield
        finally:
            turn.is_running = False
            if not turn.waiting:
                self._turns.pop(session, None)

    def keep(self, session: str, question: str) -> str:
        """Keep a question until the answer is written; returns all that wait."""
        turn = self._turns.setdefault(session, _Turn())
        turn.waiting.append(question)
        return "\n".join(turn.waiting)

    def take(self, session: str) -> str:
        """The question that waited; empty where none did."""
        turn = self._turns.get(session)
        if turn is None:
            return ""
        question, turn.waiting = "\n".join(turn.waiting), []
        if not turn.is_running:
            self._turns.pop(session, None)
        return question
