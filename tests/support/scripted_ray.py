"""Ray without processes, on a clock of its own: actors answer, raise, hang, die or are late as a script says.

Waiting advances the clock to the next event, so that an hour of a run takes milliseconds. Pools, collector and training
loop above it are the real ones.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError, RayTaskError

CLOCKED = (
    "medray.actors.ray_calls.wait",
    "medray.actors.ray_calls.silence",
    "medray.actors.rollout.pool",
    "medray.actors.rollout.worker",
)
"""Modules whose clock is the scripted one."""
THREADED = ("medray.actors.collector", "medray.training.asynchronous")
"""Modules whose threads wait for each other."""


@dataclass(eq=False)
class Ref:
    """A result to come."""

    is_ready: bool = False
    value: Any = None
    error: Exception | None = None

    def resolve(self, value: Any = None, error: Exception | None = None) -> None:
        """Fill it in; the first time counts."""
        if not self.is_ready:
            self.is_ready, self.value, self.error = True, value, error


class Stream:
    """What `num_returns="streaming"` gives: refs one after another, the last of which may hold why it broke."""

    def __init__(self) -> None:
        self.items: deque[Ref] = deque()
        self.error: Exception | None = None

    @property
    def is_ready(self) -> bool:
        return bool(self.items) or self.error is not None

    def push(self, value: Any) -> None:
        self.items.append(Ref(True, value))

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Ref:
        if self.items:
            return self.items.popleft()
        if self.error is None:
            raise StopIteration
        error, self.error = self.error, None
        return Ref(True, None, error)


class ScriptedRay:
    """`ray.wait`, `ray.get`, `ray.put`, `ray.kill` and the clock, for actors made with `Actor`.

    The thread that samples ahead is not a real one: its turns are taken inside the waits of the others, so that a run
    repeats exactly. `order` draws who comes first where two threads want to poll.
    """

    def __init__(self, order: random.Random | None = None) -> None:
        self.now = 0.0
        self.order = order or random.Random(0)
        self.thread: _Thread | None = None  # beside the one that the test runs in
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._ties = itertools.count()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> ScriptedRay:
        """Stand in for Ray, and for clock and threads of the modules that wait."""
        for name in ("wait", "get", "put", "kill"):
            monkeypatch.setattr(ray, name, getattr(self, name))
        for module in CLOCKED:
            monkeypatch.setattr(f"{module}.time", self)
        for module in THREADED:
            monkeypatch.setattr(f"{module}.threading", _Threading(self))
        return self

    @property
    def may_turn(self) -> bool:
        """Whether the other thread can go on while this one waits."""
        thread = self.thread
        return thread is not None and thread.is_alive() and not thread.is_running

    # The clock

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.wait([], timeout=seconds)

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen."""
        heapq.heappush(self._events, (self.now + seconds, next(self._ties), event))

    def advance(self, end: float) -> None:
        """Give the other thread a turn where it can take one; else go to the next event, or to `end` before that."""
        if self.may_turn and not self.is_polling:
            assert self.thread is not None
            self.thread.turn()
        elif self._events and self._events[0][0] <= end:
            at, _, event = heapq.heappop(self._events)
            self.now = max(self.now, at)
            event()
        else:
            self.now = max(self.now, end)

    # Ray

    is_polling = False  # a thread waits with the lock that lets one poll at a time

    def wait(
        self, refs: Sequence[Any], *, num_returns: int = 1, timeout: float | None = None, fetch_local: bool = True
    ) -> tuple[list[Any], list[Any]]:  # fmt: skip
        end = self.now + (1e9 if timeout is None else timeout)
        while sum(ref.is_ready for ref in refs) < max(num_returns, 1) and self.now < end:
            self.advance(end)
        ready = [ref for ref in refs if ref.is_ready][:num_returns]
        return ready, [ref for ref in refs if ref not in ready]

    def get(self, refs: Any, *, timeout: float | None = None) -> Any:
        if isinstance(refs, list):
            return [self.get(ref) for ref in refs]
        assert refs.is_ready, "fetched before it was ready"
        if refs.error is not None:
            raise refs.error
        return refs.value

    def put(self, value: Any) -> Ref:
        return Ref(True, value)

    def kill(self, actor: Actor) -> None:
        actor.die()


@dataclass
class Method:
    """`actor.method`, for `.remote(...)`."""

    call: Callable[..., Any]

    def options(self, **options: Any) -> Method:
        return self

    def remote(self, *arguments: Any) -> Any:
        return self.call(*arguments)


@dataclass
class Actor:
    """A process that answers its calls one after another.

    A subclass has a method `_name` for each remote method `name`, which calls `answer` with what becomes of the call.
    """

    ray: ScriptedRay
    name: str
    is_dead: bool = False
    outstanding: list[Ref] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    queue: deque[Callable[[], float | None]] = field(default_factory=deque)
    is_busy: bool = False

    def __getattr__(self, name: str) -> Method:
        if name.startswith("_"):
            raise AttributeError(name)
        return Method(getattr(self, f"_{name}"))

    def call(self, begin: Callable[[Ref], float | None]) -> Ref:
        """Queue a call. `begin` is called when its turn comes, and returns how long it takes; None for ever."""
        ref = Ref()
        if self.is_dead:
            ref.resolve(error=RayActorError())
            return ref
        self.outstanding.append(ref)
        self.queue.append(lambda: begin(ref))
        self._next()
        return ref

    def answer(
        self, seconds: float, value: Callable[[], Any] = lambda: None, error: Exception | None = None
    ) -> Ref:  # fmt: skip
        """A call that takes `seconds` once its turn comes, then gives `value()` or raises `error`."""

        def begin(ref: Ref) -> float:
            self.ray.after(seconds, lambda: self._end(ref, value, error))
            return seconds

        return self.call(begin)

    def die(self) -> None:
        """End the process: what it was asked fails, and its streams break."""
        if self.is_dead:
            return
        self.is_dead = True
        for ref in self.outstanding:
            ref.resolve(error=RayActorError())
        for stream in self.streams:
            stream.error = RayActorError()

    def _next(self) -> None:
        if self.is_busy or not self.queue or self.is_dead:
            return
        self.is_busy = True
        seconds = self.queue.popleft()()
        if seconds is not None:
            self.ray.after(seconds, self._over)

    def _over(self) -> None:
        self.is_busy = False
        self._next()

    def _end(self, ref: Ref, value: Callable[[], Any], error: Exception | None) -> None:
        if self.is_dead:
            return
        self.outstanding.remove(ref)
        if error is None:
            ref.resolve(value())
        else:
            ref.resolve(error=raised(error))


def raised(error: Exception) -> Exception:
    """An error as Ray hands it on from an actor."""
    return RayTaskError("method", f"Traceback\n{type(error).__name__}: {error}", error, ip="here")


class _Threading:
    """The module `threading`, for threads that take turns."""

    def __init__(self, ray: ScriptedRay) -> None:
        self.ray = ray
        self.RLock = threading.RLock  # of one real thread, so never waited for

    def Lock(self) -> _Lock:
        return _Lock(self.ray)

    def Condition(self, lock: Any) -> _Condition:
        return _Condition(self.ray)

    def Event(self) -> _Event:
        return _Event()

    def Thread(self, *, target: Callable[[], None], **settings: Any) -> _Thread:
        return _Thread(self.ray, target)


class _Lock:
    """Lets one thread poll; the other may have come first."""

    def __init__(self, ray: ScriptedRay) -> None:
        self.ray = ray

    def acquire(self, timeout: float) -> bool:
        if self.ray.is_polling:
            return False
        if self.ray.may_turn and self.ray.order.random() < 0.5:
            assert self.ray.thread is not None
            self.ray.thread.turn()
        self.ray.is_polling = True
        return True

    def release(self) -> None:
        self.ray.is_polling = False


class _Condition:
    """While a thread waits for it, the other takes its turns."""

    def __init__(self, ray: ScriptedRay) -> None:
        self.ray = ray
        self.is_told = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass

    def wait(self, timeout: float) -> None:
        self.is_told, end = False, self.ray.now + timeout
        while not self.is_told and self.ray.now < end:
            self.ray.advance(end)

    def notify_all(self) -> None:
        self.is_told = True


class _Event:
    """Says every second time that it is set, so that a loop until then ends after one turn."""

    def __init__(self) -> None:
        self.is_real = False
        self.asked = 0

    def set(self) -> None:
        self.is_real = True

    def is_set(self) -> bool:
        self.asked += 1
        return self.is_real or self.asked % 2 == 0


class _Thread:
    """A loop until an event, turn by turn."""

    def __init__(self, ray: ScriptedRay, target: Any) -> None:
        self.ray, self.target = ray, target
        self.is_running = self.is_over = False
        self.has_started = False

    def start(self) -> None:
        self.ray.thread, self.has_started = self, True

    def is_alive(self) -> bool:
        return self.has_started and not self.is_over

    def turn(self) -> None:
        """Go once round the loop; it is over where an error or the event ends it."""
        event: _Event = self.target.__self__._end
        asked = event.asked
        self.is_running = True
        self.target()
        self.is_running = False
        self.is_over = event.asked < asked + 2 or event.is_real

    def join(self, timeout: float) -> None:
        end = self.ray.now + timeout
        while self.is_alive() and self.ray.now < end:
            self.ray.advance(end)
