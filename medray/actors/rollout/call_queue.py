"""Calls into a thread that is busy with something else: it opens them whenever it comes to a good place."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class CallQueue:
    """Letters are opened in the order they were posted, by the one thread that owns what they touch."""

    def __init__(self) -> None:
        self._letters: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any] | None]] = (
            queue.SimpleQueue()
        )

    def post(self, letter: Callable[[], Any]) -> None:
        """Leave a letter; an error in it is raised where it is opened."""
        self._letters.put((letter, None))

    def call(self, letter: Callable[[], T], *, deadline_s: float) -> T:
        """Leave a letter and wait for what it returns or raises.

        Raises:
            TimeoutError: it was not opened and read in time.
        """
        answer: Future[T] = Future()
        self._letters.put((letter, answer))
        return answer.result(timeout=deadline_s)

    def open(self, *, wait: bool) -> None:
        """Read every letter there is; with `wait`, at least one."""
        while wait or not self._letters.empty():
            wait = False
            letter, answer = self._letters.get()
            if answer is None:
                letter()
                continue
            try:
                answer.set_result(letter())
            except Exception as error:
                answer.set_exception(error)
