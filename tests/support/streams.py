"""Well-behaved streams that go on beside whatever a test does to a service, and what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from tests.support.service import RunningService


class Streams:
    """Several clients, each asking for one stream after the other."""

    def __init__(self, service: RunningService, models: tuple[str, ...], count: int) -> None:
        self.finished, self.failures = 0, list[str]()
        self._service, self._stop, self._lock = service, threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask, args=(models[i % len(models)],))
            for i in range(count)
        ]

    def _ask(self, model: str) -> None:
        body: dict[str, Any] = {"model": model, "max_tokens": 40, "ignore_eos": True}
        body |= {
            "messages": [{"role": "user", "content": "How is asthma treated?"}],
            "stream": True,
        }
        with self._service.http() as http:
            while not self._stop.is_set():
                try:
                    with http.stream("POST", "/v1/chat/completions", json=body) as answer:
                        lines = [line for line in answer.iter_lines() if line]
                    whole = lines[-1] == "data: [DONE]" and '"finish_reason":"length"' in lines[-2]
                    said = "" if whole else f"{answer.status_code} {lines[-2:]}"
                except Exception as error:
                    said = repr(error)
                with self._lock:
                    self.finished += not said
                    self.failures += [said] if said else []

    def wait_for_more(self, count: int, seconds: float = 300) -> None:
        """Until `count` more streams have begun and ended; what holds them up for good fails here."""
        wanted, deadline = self.finished + len(self._threads) + count, time.monotonic() + seconds
        while self.finished < wanted:
            assert not self.failures, self.failures[:5]
            assert time.monotonic() < deadline, f"{self.finished} of {wanted} in {seconds:g} s"
            time.sleep(0.1)

    def __enter__(self) -> Streams:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def well_behaved(
    service: RunningService, models: tuple[str, ...], count: int = 16
) -> Iterator[Streams]:
    """`count` clients; once the block has ended, none of their streams was harmed."""
    with Streams(service, models, count) as streams:
        yield streams
    assert not streams.failures, streams.failures[:5]
    assert streams.finished >= count


def resident_bytes(service: RunningService) -> int:
    """Memory of the service and all it started."""
    parent = psutil.Process(service.process.pid)
    return sum(p.memory_info().rss for p in [parent, *parent.children(recursive=True)])
