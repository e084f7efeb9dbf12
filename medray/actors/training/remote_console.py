"""From the workers of Ray Train to the terminal that the job was started in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import ray

from medray.observability.console.base import Console

ANSWER_S = 60.0  # longest wait for the relay, which never computes
Call = tuple[str, tuple[Any, ...]]
"""A method of the console and its arguments."""


class ConsoleRelay:
    """Keeps what workers report until the driver asks for it, and the error that ends the run.

    An actor of its own rather than a `ray.util.queue.Queue`, whose `put` waits for an answer and which would be a
    second process beside the one that keeps the error.
    """

    def __init__(self) -> None:
        self.news: list[Call] = []
        self.has_news = asyncio.Event()
        self.error: BaseException | None = None

    async def say(self, what: str, *arguments: Any) -> None:
        """Call the console's method `what` with these arguments, later."""
        self.news.append((what, arguments))
        self.has_news.set()

    async def take(self, wait_s: float) -> list[Call]:
        """What was reported since the last call; waits for news up to `wait_s` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.has_news.wait(), wait_s)
        self.has_news.clear()
        news, self.news = self.news, []
        return news

    async def fail(self, error: BaseException) -> None:
        """End the run: a restart would meet the same error."""
        self.error = self.error or error

    async def failure(self) -> BaseException | None:
        """The error that ends the run, if there is one."""
        return self.error


RelayActor: Any = ray.remote(num_cpus=0)(ConsoleRelay)


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
        """Leave the console to the driver, which closes it."""


@contextmanager
def shown_on(console: Console) -> Iterator[Any]:
    """A relay whose news are shown on `console` while the block runs, all of them by its end."""
    relay = RelayActor.remote()
    over = Event()

    def show() -> None:
        while True:
            last = over.is_set()  # asked before, so that the last news are taken after the end
            for what, arguments in ray.get(
                relay.take.remote(0.0 if last else 1.0), timeout=ANSWER_S
            ):
                getattr(console, what)(*arguments)
            if last:
                return

    thread = Thread(target=show, name="relay", daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        over.set()
        thread.join(timeout=ANSWER_S)
        ray.kill(relay)
