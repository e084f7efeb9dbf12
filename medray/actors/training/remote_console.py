"""From the workers of Ray Train to the terminal of whoever started the job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import ray

from medray.observability.console.base import Console


@ray.remote(num_cpus=0)
class ConsoleRelay:
    """Keeps what workers say until the driver asks for it, and the error that ends the run."""

    def __init__(self) -> None:
        self.news: list[tuple[str, tuple[Any, ...]]] = []
        self.error: BaseException | None = None

    def say(self, what: str, *arguments: Any) -> None:
        """Call the console's method `what` with these arguments, later."""
        self.news.append((what, arguments))

    async def take(self, wait_s: float) -> list[tuple[str, tuple[Any, ...]]]:
        """What was said since the last call; waits for news up to `wait_s` seconds."""
        for _ in range(max(1, int(wait_s / 0.05))):
            if self.news:
                break
            await asyncio.sleep(0.05)
        news, self.news = self.news, []
        return news

    def fail(self, error: BaseException) -> None:
        """The run cannot go on: a restart would meet the same error."""
        self.error = self.error or error

    def failure(self) -> BaseException | None:
        """The error that ends the run, if there is one."""
        return self.error


class RemoteConsole:
    """Console that forwards every call to the driver's console, through the relay actor; never waits for it."""

    def __init__(self, relay: Any) -> None:
        self._relay = relay

    def header(self, facts: Mapping[str, str]) -> None:
        self._relay.say.remote("header", dict(facts))

    def note(self, text: str) -> None:
        self._relay.say.remote("note", text)

    def phase(self, name: str) -> None:
        self._relay.say.remote("phase", name)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        self._relay.say.remote("record", step, dict(metrics))

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._relay.say.remote("evaluation", step, dict(metrics))

    def close(self) -> None:
        """The console itself is closed by the driver."""


@contextmanager
def shown_on(console: Console) -> Iterator[Any]:
    """A relay whose news are shown on `console` while the block runs, all of them by its end."""
    relay: Any = ConsoleRelay.remote()
    over = Event()

    def show() -> None:
        while True:
            last = over.is_set()  # asked before, so that the last news are taken after the end
            for what, arguments in ray.get(relay.take.remote(0.0 if last else 1.0), timeout=60):
                getattr(console, what)(*arguments)
            if last:
                return

    thread = Thread(target=show, name="relay", daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        over.set()
        thread.join(timeout=60)
        ray.kill(relay)
