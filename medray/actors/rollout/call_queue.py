"""Calls into a thread that is busy with something else, which makes them at a good place of its own."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class CallQueue:
    """Calls are made in the order they were queued, by the one thread that owns what they touch."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any] | None]] = (
            queue.SimpleQueue()
        )

    def post(self, call: Callable[[], Any]) -> None:
        """Queue a call that nobody waits for; its error is raised in the thread that makes it."""
        self._calls.put((call, None))

    def call(self, call: Callable[[], T], *, deadline_s: float) -> T:
        """Queue a call and wait for what it returns or raises.

        Raises:
            TimeoutError: it was not made in time.
        """
        answer: Future[T] = Future()
        self._calls.put((call, answer))
        return answer.result(timeout=deadline_s)

    def run(self, *, wait: bool) -> None:
        """Make every call there is; with `wait`, at least one."""
        while wait or not self._calls.empty():
            wait = False
            call, answer = self._calls.get()
            if answer is None:
                call()
                continue
            try:
                answer.set_result(call())
            except Exception as error:
                answer.set_exception(error)
