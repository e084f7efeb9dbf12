"""Workers that sleep as real ones compute, many to a process, so that one machine can drive hundreds of them.

A scripted worker decodes `slots` groups at a time; each takes its own time, drawn from the prompt's seed, and comes
back as tokens and metadata of realistic size. Everything on the driver's side of them is the real thing.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray

from medray.actors.groups import Request
from medray.actors.ray_calls.wait import Started
from medray.actors.rollout.actor import Loaded
from medray.actors.supervision.node_probe import ProcessLocation, here
from medray.actors.weights.publish import PublishedWeights
from medray.observability.meters import Meters
from medray.types import GroupMeta, GroupScore, Probe, Response, RolloutGroup, WeightManifest

CALLS = 4096  # that one process holds at a time


@dataclass(frozen=True)
class Pace:
    """How long things take, seconds."""

    slots: int = 8  # groups a worker decodes at a time
    group_s: float = 30.0  # mean; single ones take half to one and a half times as long
    tokens: int = 256  # a response
    load_s: float = 1.0
    update_s: float = 10.0
    grade_s: float = 0.05


def group_seconds(seed: int, pace: Pace) -> float:
    """How long a group takes."""
    return pace.group_s * random.Random(seed).uniform(0.5, 1.5)


@dataclass
class _Engine:
    """One scripted worker inside a host."""

    name: str
    pace: Pace
    waiting: deque[Request] = field(default_factory=deque[Request])
    running: int = 0
    version: int = -1
    done: asyncio.Queue[tuple[Request, int]] = field(default_factory=asyncio.Queue)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def refill(self) -> None:
        while self.waiting and self.running < self.pace.slots:
            self.running += 1
            task = asyncio.ensure_future(self._decode(self.waiting.popleft()))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _decode(self, ask: Request) -> None:
        began = self.version
        await asyncio.sleep(group_seconds(ask.seed, self.pace))
        self.running -= 1
        self.refill()
        self.done.put_nowait((ask, began))


@ray.remote(num_cpus=0, max_concurrency=CALLS)
class Host:
    """A process full of scripted workers."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.engines: dict[int, _Engine] = {}

    async def location(self, index: int) -> ProcessLocation:
        return here()

    async def start(self, index: int) -> Started:
        self.engines[index] = _Engine(f"rollout-{index}", self.pace)
        return Started(f"rollout-{index}", 0.0)

    async def submit(self, index: int, requests: Sequence[Request], version: int) -> None:
        engine = self.engines[index]
        engine.waiting.extend(requests)
        engine.refill()

    async def load(self, index: int, published: PublishedWeights) -> Loaded:
        await asyncio.sleep(self.pace.load_s)
        engine = self.engines[index]
        engine.version = published.version
        return Loaded(0.0, tuple(ask.ticket for ask in engine.waiting))

    async def serve(self, index: int) -> AsyncIterator[Any]:
        while index not in self.engines:
            await asyncio.sleep(0.05)
        engine = self.engines[index]
        while True:
            ask, began = await engine.done.get()
            size, count = self.pace.tokens, ask.spec.num_samples
            response = Response(np.zeros(size, np.int32), np.zeros(size, np.float32), "", "length")
            yield RolloutGroup(ask.prompt, (response,) * count, began, engine.name)
            yield (
                ask.ticket,
                GroupMeta(
                    ask.prompt.record.id, len(ask.prompt.token_ids), (size,) * count, 0, began,
                    engine.name, 0, engine.version,
                ),
            )  # fmt: skip


@ray.remote(num_cpus=0, max_concurrency=CALLS)
class ScriptedGrader:
    """Grades by the clock."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace

    async def score(self, *groups: RolloutGroup) -> list[GroupScore]:
        await asyncio.sleep(self.pace.grade_s * len(groups))
        return [GroupScore(tuple(float(i % 2) for i in range(len(g.responses)))) for g in groups]


@ray.remote(num_cpus=0)
class ScriptedLearner:
    """Updates by the clock."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace

    async def update(self, items: Sequence[Any], totals: Any, place: int) -> Meters:
        await asyncio.sleep(self.pace.update_s)
        return Meters()

    async def publish(self, version: int, form: str) -> PublishedWeights:
        probe = Probe(np.zeros(2, np.int32), np.zeros(1, np.float32))
        return PublishedWeights(WeightManifest(version, {}, probe), (), {})

    async def save(self, step: int, scalars: Any) -> str:
        return ""


class Worker:
    """What a driver holds of a scripted worker: the methods of its host, with its number put first."""

    def __init__(self, host: Any, index: int) -> None:
        for name in ("location", "start", "serve", "submit", "load"):
            setattr(self, name, _Method(getattr(host, name), index))


class _Method:
    def __init__(self, method: Any, index: int) -> None:
        self._method, self._index = method, index

    def options(self, **options: Any) -> _Method:
        return _Method(self._method.options(**options), self._index)

    def remote(self, *arguments: Any) -> Any:
        return self._method.remote(self._index, *arguments)


def spawner(num_hosts: int, pace: Pace) -> Callable[[int], Worker]:
    """Makes worker `i`, on the hosts in turn."""
    hosts = [Host.remote(pace) for _ in range(num_hosts)]
    return lambda index: Worker(hosts[index % num_hosts], index)
