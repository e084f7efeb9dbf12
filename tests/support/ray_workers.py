"""Rollout workers as Ray actors without an engine: they answer at once, late, wrongly or never, as prompts say."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import ray

from medray.actors.groups import Request
from medray.actors.ray_calls.wait import Started
from medray.actors.rollout.actor import Loaded
from medray.actors.weights.publish import PublishedWeights
from medray.errors import EnvironmentFailed
from medray.types import GroupMeta, Probe, Prompt, Record, Response, RolloutGroup, WeightManifest


def prompt(name: str) -> Prompt:
    """A prompt whose id says what becomes of it: `slow...`, `poison...`, `deadly...`, `mute-N`, or anything else."""
    return Prompt(Record(name, ()), np.arange(4, dtype=np.int32))


def weights(version: int) -> PublishedWeights:
    """Weights without tensors."""
    probe = Probe(np.zeros(2, np.int32), np.zeros(1, np.float32))
    return PublishedWeights(WeightManifest(version, {}, probe), (), {})


@ray.remote(num_cpus=0, max_concurrency=8)
class ScriptedRollout:
    """Gives one group after another."""

    def __init__(self, index: int, load_s: float, start_s: float = 0.0) -> None:
        self.name = f"rollout-{index}"
        self.load_s, self.start_s = load_s, start_s
        self.version = -1
        self.asked: asyncio.Queue[tuple[Request, int]] = asyncio.Queue()
        self.failures: Counter[int] = Counter()  # of environments, by ticket
        self.waiting: list[int] = []  # tickets of those

    async def start(self) -> Started:
        await asyncio.sleep(self.start_s)
        return Started(self.name, self.start_s)

    async def load(self, published: PublishedWeights) -> Loaded:
        await asyncio.sleep(self.load_s)
        self.version = published.version
        return Loaded(1e-6 * published.version, tuple(self.waiting))

    async def submit(self, requests: Sequence[Request], version: int) -> None:
        for ask in requests:
            self.asked.put_nowait((ask, version))
            self.waiting.append(ask.ticket)

    async def serve(self) -> AsyncIterator[Any]:
        while True:
            ask, _ = await self.asked.get()
            self.waiting.remove(ask.ticket)
            name = ask.prompt.record.id
            if name.startswith("slow"):
                await asyncio.sleep(3)
            if name.startswith("poison"):
                raise RuntimeError("the engine broke")
            if name.startswith("deadly"):
                os._exit(1)
            if name.startswith("mute"):  # mute-N: its environment fails N times
                self.failures[ask.ticket] += 1
                if self.failures[ask.ticket] <= int(name.partition("-")[2]):
                    yield None
                    text = f"environment mine:Own, prompt {name}: ValueError: no"
                    yield ask.ticket, EnvironmentFailed(text)
                    continue
            await asyncio.sleep(0.05)
            one = Response(np.full(3, ask.seed, np.int32), np.zeros(3, np.float32), "", "length")
            group = RolloutGroup(ask.prompt, (one,) * ask.spec.num_samples, self.version)
            yield group
            yield (
                ask.ticket,
                GroupMeta(name, 4, (3,) * ask.spec.num_samples, 0, self.version, self.name),
            )
