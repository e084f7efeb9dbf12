"""What workers report reaches the driver's console: in order, at once, and once."""

from __future__ import annotations

import asyncio
import time

from medray.actors.training.remote_console import ConsoleRelay


def test_news_end_the_wait_and_are_taken_once() -> None:
    async def talk() -> None:
        relay = ConsoleRelay()
        waiting = asyncio.create_task(relay.take(30.0))
        await asyncio.sleep(0)
        began = time.monotonic()
        await relay.say("note", "one")
        await relay.say("record", 1, {"loss": 2.0})
        assert await waiting == [("note", ("one",)), ("record", (1, {"loss": 2.0}))]
        assert time.monotonic() - began < 5
        assert await relay.take(0.0) == []
        await relay.say("note", "two")
        assert await relay.take(0.0) == [("note", ("two",))]

    asyncio.run(talk())


def test_the_wait_ends_without_news() -> None:
    assert asyncio.run(ConsoleRelay().take(0.01)) == []


def test_the_first_error_is_kept() -> None:
    async def fail_twice() -> BaseException | None:
        relay = ConsoleRelay()
        assert await relay.failure() is None
        await relay.fail(ValueError("first"))
        await relay.fail(ValueError("second"))
        return await relay.failure()

    assert str(asyncio.run(fail_twice())) == "first"
