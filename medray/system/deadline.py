"""A deadline for calls that have none of their own."""

from __future__ import annotations

import queue
import threading
import urllib.request
from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")


def within(seconds: float, call: Callable[[], ResultT]) -> ResultT:
    """Return what `call` returns; it runs in a thread, because name resolution ignores a request's own timeout.

    Raises:
        TimeoutError: there is no result after `seconds`; the thread goes on, and ends with the process.
        Exception: whatever `call` raises.
    """
    results: queue.SimpleQueue[tuple[ResultT | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except Exception as error:  # raised to the caller below
            results.put((None, error))

    threading.Thread(target=run, daemon=True, name="within").start()
    try:
        result, error = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer in {seconds:g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # a call may return None


def url_answers(url: str, seconds: float) -> bool:
    """Whether a request for the headers of `url` succeeds within `seconds`."""

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=seconds):
            pass

    try:
        within(seconds, ask)
    except (OSError, ValueError):  # TimeoutError is an OSError
        return False
    return True
