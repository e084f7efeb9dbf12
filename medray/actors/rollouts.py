"""The rollout workers, driven as one sampler that outlives any of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from medray.actors.health import State, advance
from medray.actors.incidents import Incidents
from medray.actors.published import PublishedWeights
from medray.actors.wait import Ref, fetch, gather
from medray.config.rl import RlJob
from medray.errors import DeadlineExceeded, WorkerLost
from medray.types import GenerateSpec, GroupMeta, Probe, Prompt, WeightManifest


@dataclass(frozen=True)
class Sampled:
    """A complete group: its place in the order, what the driver may know, and where the tokens are."""

    index: int
    meta: GroupMeta
    group: Ref


@dataclass
class Member:
    """One place for a worker, and whoever holds it now."""

    name: str
    index: int
    handle: Any
    state: State = State.STALE
    coming: Ref | None = None  # the start or the load that is under way
    taking: int = -1  # version of the weights that a load under way brings

    def to(self, state: State) -> None:
        """Move to another state."""
        self.state = advance(self.state, state)


@dataclass
class _Order:
    member: Member
    stream: Any  # ray.ObjectRefGenerator
    indices: list[int]
    done: set[int] = field(default_factory=set)

    @property
    def left(self) -> list[int]:
        return [i for i in self.indices if i not in self.done]


class RolloutPool:
    """All rollout workers. A dead one costs the groups it had in flight, which others sample again with the same seeds.

    Its replacement serves only after it has taken and proved the newest weights.
    """

    def __init__(
        self, spawn: Callable[[int], Any], num_workers: int, job: RlJob, incidents: Incidents
    ) -> None:
        self._spawn = spawn
        self.members = [Member(f"rollout-{i}", i, spawn(i)) for i in range(num_workers)]
        self.deadlines = job.deadlines
        self.incidents = incidents
        self.restarts_left = job.scale.max_restarts
        self.can_revive = job.sync.backend == "object_store"
        self.newest: PublishedWeights | None = None
        self.version = -1
        self.asleep = False

    @property
    def workers(self) -> dict[str, Any]:
        """Handles of the workers that are up."""
        up = (State.STALE, State.SERVING)
        return {m.name: m.handle for m in self.members if m.state in up}

    # Weights ---------------------------------------------------------------------------------

    def load(self, published: PublishedWeights) -> float:
        """Give every worker the weights, in parallel; returns the largest probe gap in nats."""
        self.newest, self.version = published, published.version
        self._settle()
        calls = {}
        for member in self._up():
            member.state = State.STALE
            calls[member.name] = member.handle.load.remote(published)
        gaps: list[float] = []
        for member in [m for m in self.members if m.name in calls]:
            try:
                doing = f"weight sync {published.version}"
                got = gather(
                    {member.name: calls[member.name]}, deadline_s=self.deadlines.sync_s, doing=doing
                )
                gaps.append(got[member.name])
                member.to(State.SERVING)
            except WorkerLost as loss:
                self._bury(member, f"weight sync {published.version}", "nothing", loss)
        while not any(m.state is State.SERVING for m in self.members):
            self._await_returns(time.monotonic() + self.deadlines.start_s)
        return max(gaps, default=0.0)

    def begin_sync(self, probe: Probe) -> None:
        """Open a transaction on every worker, for tensors that the learner will send."""
        self._all("begin_sync", probe, doing="open weight sync")

    def end_sync(self, manifest: WeightManifest) -> float:
        """Have every worker prove and serve the weights it was sent; the largest gap in nats."""
        gaps = self._all("end_sync", manifest, doing=f"weight sync {manifest.version}")
        self.version = manifest.version
        for member in self._up():
            member.state = State.SERVING
        return max(gaps.values())

    def sleep(self) -> None:
        """Free the accelerators that learner and engines share."""
        if not self.asleep:
            self._all("sleep", doing="sleep")
            self.asleep = True

    def wake(self) -> None:
        """Take the accelerators' memory back."""
        if self.asleep:
            self._all("wake", doing="wake")
            self.asleep = False

    # Sampling --------------------------------------------------------------------------------

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec
    ) -> Iterator[Sampled]:
        """Sample every prompt; groups are yielded as they complete, in no particular order.

        Raises:
            DeadlineExceeded: not all came within the deadline; names who is late.
            WorkerLost: a worker died and may not be replaced any more.
        """
        end = time.monotonic() + self.deadlines.generate_s
        waiting: deque[int] = deque()
        serving = [m for m in self.members if m.state is State.SERVING]
        orders: dict[Any, _Order] = {}

        def give(member: Member, indices: list[int]) -> None:
            chosen = [prompts[i] for i in indices], [seeds[i] for i in indices]
            stream = member.handle.generate.options(num_returns="streaming").remote(
                *chosen, spec, self.version
            )
            orders[stream] = _Order(member, stream, indices)

        for place, member in enumerate(serving):
            indices = list(range(place, len(prompts), len(serving)))
            if indices:
                give(member, indices)
        while orders or waiting:
            self._settle()
            if waiting and (idle := self._idle(orders)) is not None:
                give(idle, list(waiting))
                waiting.clear()
            for order in self._ready(orders, end):
                try:
                    sampled = self._next(order)
                except WorkerLost as loss:
                    del orders[order.stream]
                    waiting.extend(order.left)
                    cost = f"{len(order.left)} of {len(order.indices)} groups sampled again"
                    self._bury(order.member, "generate", cost, loss)
                    continue
                if sampled is None:
                    del orders[order.stream]
                else:
                    order.done.add(sampled.index)
                    yield sampled

    def _ready(self, orders: dict[Any, _Order], end: float) -> list[_Order]:
        coming = [m.coming for m in self.members if m.coming is not None]
        left = end - time.monotonic()
        ready, _ = ray.wait([*orders, *coming], timeout=max(0.0, left), fetch_local=False)
        if not ready:
            late = [f"{o.member.name} ({len(o.left)} prompts)" for o in orders.values()]
            late += [f"{m.name} ({m.state.value})" for m in self.members if m.coming is not None]
            raise DeadlineExceeded(
                f"generate: no answer from {', '.join(late)} within {self.deadlines.generate_s:g} s"
            )
        return [orders[ref] for ref in ready if ref in orders]

    def _next(self, order: _Order) -> Sampled | None:
        """The next group of an order; None at its end."""
        name = order.member.name
        first = next(order.stream, None)
        if first is None:
            assert not order.left, f"{name} ended its order with {len(order.left)} groups missing"
            return None
        second = next(order.stream, None)
        if second is None:  # a stream that breaks ends in one ref, which holds the reason
            fetch(first, name=name, doing="generate")
        local, meta = fetch(second, name=name, doing="generate")
        return Sampled(order.indices[local], meta, first)

    def _idle(self, orders: dict[Any, _Order]) -> Member | None:
        """The serving worker with the fewest groups to come, if any is serving."""
        load = {o.member.name: len(o.left) for o in orders.values()}
        serving = [m for m in self.members if m.state is State.SERVING]
        return min(serving, key=lambda m: load.get(m.name, 0), default=None)

    # Death and return ------------------------------------------------------------------------

    def _bury(self, member: Member, doing: str, cost: str, loss: WorkerLost) -> None:
        """Record a death and start the replacement."""
        if not self.can_revive or self.restarts_left <= 0:
            raise loss
        self.restarts_left -= 1
        self.incidents.add("death", member.name, doing, cost)
        member.to(State.DEAD)
        member.handle = self._spawn(member.index)
        member.to(State.STARTING)
        member.taking = -1
        member.coming = member.handle.start.remote()

    def _settle(self) -> None:
        """Take note of starts and loads that have ended, without waiting for any."""
        for member in self.members:
            if member.coming is None or not ray.wait([member.coming], timeout=0)[0]:
                continue
            done, member.coming = member.coming, None
            try:
                fetch(done, name=member.name, doing=member.state.value)
            except WorkerLost as loss:
                self._bury(member, member.state.value, "nothing", loss)
                continue
            if member.state is State.STARTING:
                member.to(State.STALE)
            if member.taking == self.version:
                member.to(State.SERVING)
                self.incidents.add("restart", member.name, f"weights {self.version}", "nothing")
            elif self.newest is not None:
                member.taking = self.version
                member.coming = member.handle.load.remote(self.newest)

    def _await_returns(self, end: float) -> None:
        coming = [m.coming for m in self.members if m.coming is not None]
        if not coming or not ray.wait(coming, timeout=max(0.0, end - time.monotonic()))[0]:
            names = ", ".join(m.name for m in self.members)
            raise DeadlineExceeded(f"no rollout worker came back within its deadline: {names}")
        self._settle()

    def _up(self) -> list[Member]:
        return [
            m for m in self.members if m.state in (State.STALE, State.SERVING) and m.coming is None
        ]

    def _all(self, method: str, *arguments: Any, doing: str) -> dict[str, Any]:
        calls = {m.name: getattr(m.handle, method).remote(*arguments) for m in self._up()}
        return gather(calls, deadline_s=self.deadlines.sync_s, doing=doing)
