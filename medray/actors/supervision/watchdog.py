"""Watchdog over every process of a run: finds frozen processes, reports them, and kills them so that they are replaced.

Ray reports a dead process to every caller. It does not report a process stopped by a signal, a debugger or a container
runtime: callers would wait until their deadline. A thread of the driver therefore asks a `NodeProbe` on each node for
the states of the run's processes. A process that stays stopped for `deadlines.frozen_s` is recorded as an incident with
actor, node, pid, state and stack, and killed. From there on it is handled like any other worker failure.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from medray.actors.ray_calls.wait import Ref
from medray.actors.supervision.incidents import Incidents
from medray.actors.supervision.node_probe import NodeProbe, ProcessLocation, here
from medray.actors.supervision.ray_daemons import local_daemons
from medray.errors import DeadlineExceeded
from medray.observability.logging import get_logger
from medray.system.processes import (
    STATES,
    STOPPED,
    ProcessId,
    innermost,
    kill,
    stack_of,
    state_of,
)

_logger = get_logger(__name__)


class Watchdog:
    """Tracks where each actor runs, and detects frozen ones in its own thread."""

    def __init__(
        self,
        incidents: Incidents,
        patience_s: float,
        note: Callable[[str], None] = _logger.warning,
    ) -> None:
        self.incidents = incidents
        self.patience_s = patience_s
        self.note = note
        self.home = here()
        self._asked: dict[str, Ref] = {}
        self._places: dict[str, ProcessLocation] = {}
        self._probes: dict[str, Any] = {}
        self._since: dict[tuple[str, ProcessId], float] = {}  # first seen stopped
        self._told: set[tuple[str, ProcessId]] = set()
        self._silent_since: dict[str, float] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch")

    def add(self, name: str, actor: Any) -> None:
        """Watch `actor`; it replaces an earlier actor of the same name."""
        with self._lock:
            self._places.pop(name, None)
            self._asked[name] = actor.location.remote()

    def start(self) -> None:
        """Start the thread, and a probe that watches the driver itself from another process."""
        self._probe_on(self.home).guard.remote(
            self.home.process, str(self.incidents.folder), self.patience_s
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and remove the probes."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self.patience_s)
        for probe in self._probes.values():
            ray.kill(probe)

    def explain(self, error: DeadlineExceeded) -> DeadlineExceeded:
        """Add the current location of each late actor to the error; full stacks are recorded as incidents."""
        self._settle()
        stands = []
        for name in error.late:
            place = self._places.get(name.partition(" (")[0])  # what it was asked may follow
            if place is None:
                continue
            state, stack = self._inspect(place)
            self._record("late", name, place, state, stack, doing=str(error), cost="the run")
            stands.append(f"{name} ({place}, {state}) is in {innermost(stack) or 'no Python code'}")
        if not stands:
            return error
        return DeadlineExceeded(f"{error}; {'; '.join(stands)}; stacks: {self.incidents.path}")

    # The thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._end.wait(self.patience_s / 4):
            try:
                self._round()
            except RayError as error:  # a probe died; the next round starts another
                _logger.debug("watch: %s", error)

    def _round(self) -> None:
        self._settle()
        by_node: dict[str, dict[str, ProcessLocation]] = {}
        for name, place in self._everyone().items():
            by_node.setdefault(place.node, {})[name] = place
        asked: dict[Ref, str] = {
            self._probe_on(next(iter(those.values()))).look.remote(
                {name: place.process for name, place in those.items()}
            ): node
            for node, those in by_node.items()
        }
        ready, silent = ray.wait(list(asked), num_returns=len(asked), timeout=self.patience_s / 4)
        for ref in silent:
            self._on_silence(by_node[asked[ref]])
        for ref in ready:
            node = asked[ref]
            try:
                states: Mapping[str, str] = ray.get(ref)
            except RayError:
                self._probes.pop(node, None)
                continue
            self._silent_since.pop(node, None)
            for name, state in states.items():
                self._check(name, by_node[node][name], state)
        for name, process in local_daemons().items():
            place = ProcessLocation(self.home.node, self.home.host, process)
            self._check(name, place, state_of(process))

    def _settle(self) -> None:
        """Collect the locations that actors have reported since."""
        with self._lock:
            for name, ref in list(self._asked.items()):
                if not ray.wait([ref], timeout=0)[0]:
                    continue
                del self._asked[name]
                try:
                    self._places[name] = ray.get(ref)
                except RayError:
                    continue  # it died; whoever waits for it learns that from Ray

    def _everyone(self) -> dict[str, ProcessLocation]:
        with self._lock:
            return dict(self._places)

    def _probe_on(self, place: ProcessLocation) -> Any:
        if place.node not in self._probes:
            on_node = NodeAffinitySchedulingStrategy(place.node, soft=False)
            probe = NodeProbe.options(scheduling_strategy=on_node).remote()
            self._probes[place.node] = probe
            self.add(f"probe on {place.host}", probe)
        return self._probes[place.node]

    def _on_silence(self, those: Mapping[str, ProcessLocation]) -> None:
        """Handle a node whose probe does not answer: the probe or the node is frozen, or the network is down."""
        place = next(iter(those.values()))
        name = f"node {place.host}"
        if place.node == self.home.node:  # the driver can look at its own node without a probe
            for who, where in those.items():
                self._check(who, where, state_of(where.process))
            return
        since = self._silent_since.setdefault(place.node, time.monotonic())
        key = (name, ProcessId(0, 0))
        if time.monotonic() - since >= self.patience_s and key not in self._told:
            self._told.add(key)
            text = f"has not answered for {self.patience_s:g} s: frozen or disconnected"
            self.incidents.add("silent", name, text, f"holds {', '.join(those)}")
            self.note(f"{name} {text}; its actors: {', '.join(those)}")

    # Diagnosis ------------------------------------------------------------------------------

    def _check(self, name: str, place: ProcessLocation, state: str) -> None:
        key = (name, place.process)
        if state not in STOPPED:
            self._since.pop(key, None)
            self._told.discard(key)
            return
        since = self._since.setdefault(key, time.monotonic())
        if key in self._told or time.monotonic() - since < self.patience_s:
            return
        self._told.add(key)
        is_daemon = name in local_daemons()
        _, stack = self._inspect(place)
        doing = f"{STATES[state]} for {self.patience_s:g} s"
        cost = "no new work starts until it is continued (kill -CONT)" if is_daemon else "killed"
        self._record("frozen", name, place, STATES[state], stack, doing=doing, cost=cost)
        where = innermost(stack)
        self.note(
            f"{name} ({place}) is frozen: {doing}{f', in {where}' if where else ''}; {cost}; "
            f"stack: {self.incidents.path}"
        )
        if not is_daemon:
            self._kill(place)

    def _inspect(self, place: ProcessLocation) -> tuple[str, str]:
        """Return the state in words, and the stack."""
        if place.node == self.home.node:
            return STATES.get(state_of(place.process), "gone"), stack_of(place.process)
        probe = self._probe_on(place)
        states = self._ask(probe.look.remote({"": place.process})) or {}
        return STATES.get(states.get("", ""), "gone"), self._ask(
            probe.stack.remote(place.process)
        ) or "no stack"

    def _kill(self, place: ProcessLocation) -> None:
        if place.node == self.home.node:
            kill(place.process)
        else:
            self._ask(self._probe_on(place).kill.remote(place.process))

    def _ask(self, ref: Ref) -> Any:
        try:
            return ray.get(ref, timeout=self.patience_s)
        except (RayError, TimeoutError):
            return None

    def _record(
        self, kind: str, name: str, place: ProcessLocation, state: str, stack: str, *, doing: str, cost: str
    ) -> None:  # fmt: skip
        self.incidents.add(
            kind, name, doing, cost,
            node=place.host, pid=place.process.pid, state=state, stack=stack,
        )  # fmt: skip
