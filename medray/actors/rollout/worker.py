"""One place for a rollout worker, and whoever holds it now."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from medray.actors.groups import GroupHandle
from medray.actors.ray_calls.wait import Ref, fetch
from medray.actors.rollout.state import State, advance
from medray.errors import WorkerLost


@dataclass
class RolloutWorker:
    """A worker and what it is busy with."""

    name: str
    index: int
    handle: Any
    state: State = State.STALE
    coming: Ref | None = None  # the start or the load that is under way
    since: float = 0.0  # when that began, monotonic seconds
    taking: int = -1  # version of the weights that a load under way brings
    returning: bool = False  # it replaces a dead worker and has not served yet
    held: dict[int, GroupHandle] = field(
        default_factory=dict[int, GroupHandle]
    )  # groups to come, by ticket
    num_samples: int = 0  # of those
    stream: Any = None  # ray.ObjectRefGenerator of what it serves

    def to(self, state: State) -> None:
        """Move to another state.

        Raises:
            AssertionError: the state machine has no such transition.
        """
        self.state = advance(self.state, state)

    def start(self) -> Ref:
        """Load the model, then serve; returns the ref of the first."""
        started = self.handle.start.remote()
        self.stream = self.handle.serve.options(num_returns="streaming").remote()
        return started

    def wait_for(self, coming: Ref) -> None:
        """Note a start or load under way."""
        self.coming, self.since = coming, time.monotonic()

    def hold(self, group: GroupHandle) -> None:
        """Note a group that it is given."""
        self.held[group.ticket] = group
        self.num_samples += group.request.spec.num_samples

    def release(self, ticket: int) -> GroupHandle:
        """Note a group that it has given back."""
        group = self.held.pop(ticket)
        self.num_samples -= group.request.spec.num_samples
        return group

    def lose(self) -> list[GroupHandle]:
        """Empty the worker and return the groups it held, to be sampled again elsewhere."""
        lost = list(self.held.values())
        self.held.clear()
        self.num_samples = 0
        return lost

    def next(self) -> tuple[Ref, Ref]:
        """The next group of a stream that is ready, and what to know of it: (ticket, `GroupMeta`).

        Raises:
            WorkerLost: it died.
            RayTaskError, MedrayError: it failed.
        """
        first = next(self.stream, None)
        second = next(self.stream, None) if first is not None else None
        if second is None:  # a stream that breaks ends in one ref, which holds the reason
            if first is not None:
                fetch(first, name=self.name, doing="generate")
            raise WorkerLost(f"generate: {self.name} stopped serving")
        return first, second
