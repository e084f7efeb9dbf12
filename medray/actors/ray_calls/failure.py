"""The failure that ends a run, kept so that every wait raises it and not only the one that met it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class RunFailure:
    """The first failure of a run's actors. Thread-safe.

    A result is fetched once, by whichever thread polls first. Its error is kept here, so that the threads that wait for
    something else (a batch, weights, an evaluation, a checkpoint) raise it too instead of waiting on.
    """

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._lock = threading.Lock()

    def keep(self, error: Exception) -> Exception:
        """Keep `error` unless there is one already; returns the one that is kept."""
        with self._lock:
            if self._error is None:
                self._error = error
            return self._error

    def check(self) -> None:
        """Raise the failure, if there is one; every call does."""
        with self._lock:
            error = self._error
        if error is not None:
            raise error

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Raise the failure before the block, and keep what the block raises."""
        self.check()
        try:
            yield
        except Exception as error:
            first = self.keep(error)
            if first is error:
                raise
            raise first from error
