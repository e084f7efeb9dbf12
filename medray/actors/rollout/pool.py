"""The rollout workers, driven as one sampler that outlives any of them."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ray
from ray.exceptions import RayTaskError

from medray.actors.groups import GroupHandle, Request
from medray.actors.ray_calls.failure import RunFailure
from medray.actors.ray_calls.silence import Silence
from medray.actors.ray_calls.wait import MANY, Ref, fetch, fetch_all, gather, ready_of
from medray.actors.rollout.scaling import Scaler
from medray.actors.rollout.state import State
from medray.actors.rollout.worker import RolloutWorker
from medray.actors.supervision.incidents import Incidents
from medray.actors.supervision.restart_budget import RestartBudget
from medray.actors.supervision.retries import Retries
from medray.actors.weights.publish import PublishedWeights
from medray.config.environment import EnvironmentConfig
from medray.config.rl import RlJob
from medray.errors import DeadlineExceeded, EnvironmentFailed, RestartBudgetExhausted, WorkerLost
from medray.types import GenerateSpec, Probe, Prompt, WeightManifest

MAX_FAILURES = 3  # of workers with the same group in flight, which is then taken for the reason
ALL = "rollout workers"  # their common clock, for groups that no worker has
AT_A_TIME = 4  # groups beyond those it has seats for that a worker is given at most


class RolloutPool:
    """All rollout workers. A group goes to the least loaded one, whole, so that its prompt is computed once.

    A dead worker costs the groups it had in flight, which others sample again with the same seeds. Its replacement
    serves only after it has taken and proved the newest weights.
    """

    def __init__(
        self,
        spawn: Callable[[int], Any],
        num_workers: int,
        job: RlJob,
        incidents: Incidents,
        failure: RunFailure | None = None,
    ) -> None:
        """`failure`: of the run, which ends every wait; one of the pool's own where it is None."""
        self._spawn = spawn
        self.failure = failure or RunFailure()
        self.workers = [RolloutWorker(f"rollout-{i}", i, spawn(i)) for i in range(num_workers)]
        self.deadlines = job.deadlines
        self.incidents = incidents
        self.restarts = RestartBudget(job.workers.max_restarts, incidents)
        self.can_revive = job.sync.backend == "object_store"
        self.in_flight = bool(job.rollout.max_lag)
        self.seats = None if job.deterministic else job.rollout.engine.max_num_seqs
        self.newest: Ref | None = None  # of the `PublishedWeights`, written once for all workers
        self.version = -1
        self.asleep = False
        self._gap = 0.0  # largest of the newest weights' probes
        self._tickets = itertools.count()
        self._queue: deque[GroupHandle] = deque()  # asked for, not with any worker
        self._asked: set[int] = set()  # tickets of groups to come
        self._began: dict[int, int] = {}  # ticket -> the oldest version its tokens may be of
        self._failures = Retries(MAX_FAILURES - 1, "stop")
        environment = job.rollout.environment or EnvironmentConfig()
        self._environment = Retries(environment.retries, environment.on_failure)
        self._silence = Silence()
        self._lock = threading.RLock()
        self.scaler = Scaler(
            self.workers,
            job.out,
            incidents,
            recruit=self._recruit if self.can_revive else None,
            dismiss=lambda worker: ray.kill(worker.handle),
        )

    @property
    def handles(self) -> dict[str, Any]:
        """Handles of the workers that are up."""
        return {m.name: m.handle for m in self.workers if m.state in (State.STALE, State.SERVING)}

    def start(self) -> dict[str, Ref]:
        """Have every worker load its model and then serve; refs of the former by name."""
        return {m.name: m.start() for m in self.workers}

    # Sampling --------------------------------------------------------------------------------

    def submit(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec
    ) -> list[GroupHandle]:
        """Have a group sampled for every prompt; returns their handles."""
        with self._lock, self.failure.shared():
            groups = [
                GroupHandle(Request(next(self._tickets), prompt, seed, spec))
                for prompt, seed in zip(prompts, seeds, strict=True)
            ]
            if not self._asked:
                self._silence.heard(ALL)
            self._asked |= {group.ticket for group in groups}
            self._queue.extend(groups)
            self.follow_scale()
            self._settle()
            self._dispatch()
            return groups

    def oldest_version(self, ticket: int) -> int | None:
        """The oldest version that a token of a group to come may be of: the newest, while it waits for a worker."""
        with self._lock:
            return self._began.get(ticket, self.version) if ticket in self._asked else None

    def refs(self) -> list[Any]:
        """What to wait for: one of these is ready when `take` has something to do."""
        with self._lock:
            streams = [m.stream for m in self.workers if m.stream is not None]
            return streams + [m.coming for m in self.workers if m.coming is not None]

    def take(self, ready: Iterable[Any]) -> list[GroupHandle]:
        """Groups that have become whole or were dropped, in no particular order; deaths are dealt with on the way.

        Args:
            ready: which of `refs` are; nobody else may have taken from them since.

        Raises:
            DeadlineExceeded: a group did not come within the deadline; names who is late.
            WorkerLost: a worker died and may not be replaced any more.
            EnvironmentFailed: an environment failed after `rollout.environment.retries` retries, and
                `rollout.environment.on_failure` is stop.
        """
        with self._lock, self.failure.shared():
            self._settle()
            streams = {m.stream: m for m in self.workers if m.stream is not None}
            found = self._receive([streams[stream] for stream in ready if stream in streams])
            self.follow_scale()
            self._dispatch()
            self._require_progress()
        return found

    def _receive(self, workers: Iterable[RolloutWorker]) -> list[GroupHandle]:
        """The next group of each of these workers, but of those that turn out to be gone."""
        groups: dict[str, tuple[RolloutWorker, Ref]] = {}
        notes: dict[str, Ref] = {}
        for worker in workers:
            try:
                group, notes[worker.name] = worker.next()
                groups[worker.name] = worker, group
            except (WorkerLost, RayTaskError) as error:
                self._fail(worker, error)
        found: list[GroupHandle] = []
        for name, note in fetch_all(notes, doing="generate").items():
            worker, group = groups[name]
            if isinstance(note, Exception):
                self._fail(worker, note)
                continue
            ticket, meta = note
            handle = worker.release(ticket)
            self._silence.heard(name)
            self._silence.heard(ALL)
            if isinstance(meta, EnvironmentFailed):
                again = self._environment.again(ticket, meta)
                self.incidents.add("retry" if again else "drop", name, "environment", str(meta))
                if again:
                    self._queue_first(handle)
                    continue
                handle.on_scored(None)
            else:
                handle.on_sampled(group, meta)
            self._asked.remove(ticket)
            self._began.pop(ticket, None)
            self._failures.forget(ticket)
            self._environment.forget(ticket)
            found.append(handle)
        return found

    def _queue_first(self, group: GroupHandle) -> None:
        """Have a group sampled again, with its seed, before those that no worker has yet."""
        self._queue.appendleft(group)
        self._began.pop(group.ticket, None)

    def _fail(self, worker: RolloutWorker, error: Exception) -> None:
        """Bury a worker that died or broke; other errors are raised."""
        if isinstance(error, WorkerLost):
            self._mark_dead(worker, "generate", error)
        elif isinstance(error, RayTaskError):
            reason = str(error).strip().splitlines()[-1]
            self._blame(worker, reason)
            ray.kill(worker.handle)
            self._mark_dead(worker, "generate", WorkerLost(f"generate: {worker.name}: {reason}"))
        else:
            raise error

    def _dispatch(self) -> None:
        """Give queued groups to serving workers that have room, the least loaded first."""
        if not self._queue:
            return
        given: dict[int, list[GroupHandle]] = {}
        leaving = {m.index for m in self.scaler.leaving()}
        workers = {
            m.index: m for m in self.workers if m.state is State.SERVING and m.index not in leaving
        }
        # One group more than there are seats for, so that none is ever empty. Many workers with much before them get
        # a few at a time: a call costs the driver the same for one as for four.
        size = self._queue[0].request.spec.num_samples
        enough = math.inf if self.seats is None else self.seats + size
        is_long = len(workers) >= MANY and len(self._queue) >= AT_A_TIME * len(workers)
        full = enough + size * (AT_A_TIME - 1 if is_long else 0)
        loads = [(m.num_samples, index) for index, m in workers.items() if m.num_samples < enough]
        heapq.heapify(loads)
        while self._queue and loads and loads[0][0] < full:
            load, index = loads[0]
            size = self._queue[0].request.spec.num_samples
            group = self._queue.popleft()
            if not workers[index].held:
                self._silence.heard(workers[index].name)
            workers[index].hold(group)
            self._began[group.ticket] = self.version
            heapq.heapreplace(loads, (load + size, index))
            given.setdefault(index, []).append(group)
        for index, groups in given.items():
            requests = [group.request for group in groups]
            workers[index].handle.submit.remote(requests, self.version)

    def _require_progress(self) -> None:
        """Raise if a worker with groups, or where none has any the whole pool, was silent for the deadline.

        A load is late on its own: other workers may go on sampling beside it.
        """
        self._require_loads()
        limit = self.deadlines.generate_s
        silent = self._silence.late(lambda: dict.fromkeys(self._busy(), limit))
        if not silent:
            return
        late = [m for m in self.workers if m.name in silent]
        texts = [f"{m.name} ({len(m.held)} prompts)" for m in late]
        texts += [f"{m.name} ({m.state.value})" for m in self.workers if m.coming is not None]
        raise DeadlineExceeded(
            f"generate: no group from {', '.join(texts) or 'any worker'} for {limit:g} s (deadlines.generate_s)",
            tuple(m.name for m in late),
        )

    def _busy(self) -> list[str]:
        """Whose clocks run: those of workers with groups, or the pool's while groups wait for any worker."""
        return [m.name for m in self.workers if m.held] or ([ALL] if self._asked else [])

    def _require_loads(self) -> None:
        limit, now = self.deadlines.sync_s, time.monotonic()
        loading = [m for m in self.workers if m.state is State.STALE and m.coming is not None]
        if late := [m.name for m in loading if now - m.since > limit]:
            raise DeadlineExceeded(
                f"weight sync {self.version}: no answer from {', '.join(late)} within {limit:g} s (deadlines.sync_s)",
                tuple(late),
            )

    # Weights ---------------------------------------------------------------------------------

    def load(self, published: PublishedWeights) -> float:
        """Give every worker the weights, in parallel; returns the largest probe gap in nats.

        In flight, workers take them between two steps, in the middle of their responses, and nobody waits: the gap
        returned is that of the weights before.
        """
        first = self.newest is None
        with self.failure.shared():
            self._await_loads()
            with self._lock:
                before, self._gap = self._gap, 0.0
                self.newest, self.version = ray.put(published), published.version
                for worker in self._up():
                    worker.state = State.STALE
                    self._give_weights(worker)
            if self.in_flight and not first:
                return before
            self._await_loads()
            return self._gap

    def _give_weights(self, worker: RolloutWorker) -> None:
        assert self.newest is not None
        worker.taking = self.version
        worker.wait_for(worker.handle.load.remote(self.newest))

    def _await_loads(self) -> None:
        """Wait until every worker that is up has the newest weights, and one serves.

        Where a death shows only while its load is awaited, the replacement has all the time that a start may take.
        """
        began, asked = time.monotonic(), set[Ref]()
        while True:
            self.failure.check()
            with self._lock:
                self._settle()
                loading = [
                    m for m in self.workers if m.state is State.STALE and m.coming is not None
                ]
                starting = [m for m in self.workers if m.state is State.STARTING]
                served = self.newest is None or any(m.state is State.SERVING for m in self.workers)
            if not loading and served:
                return
            waiting = loading or starting
            coming = {m.coming for m in waiting if m.coming is not None}
            if not coming <= asked:
                began, asked = time.monotonic(), asked | coming
            key = "sync_s" if loading else "start_s"
            limit: float = getattr(self.deadlines, key)
            if time.monotonic() - began > limit:
                late = waiting or self.workers
                texts = ", ".join(f"{m.name} ({m.state.value})" for m in late)
                raise DeadlineExceeded(
                    f"weight sync {self.version}: no answer from {texts} within {limit:g} s (deadlines.{key})",
                    tuple(m.name for m in late),
                )
            ready_of(list(coming), 0.2)

    def begin_sync(self, probe: Probe) -> None:
        """Open a transaction on every worker, for tensors that the learner will send."""
        self._all(lambda worker: worker.begin_sync.remote(probe), "open weight sync")

    def end_sync(self, manifest: WeightManifest) -> float:
        """Have every worker prove and serve the weights it was sent; the largest gap in nats."""
        gaps = self._all(
            lambda worker: worker.end_sync.remote(manifest), f"weight sync {manifest.version}"
        )
        with self._lock:
            self.version = manifest.version
            for worker in self._up():
                worker.state = State.SERVING
        return max(gaps.values())

    def sleep(self) -> None:
        """Free the accelerators that learner and engines share."""
        if not self.asleep:
            self._all(lambda worker: worker.sleep.remote(), "sleep")
            self.asleep = True

    def wake(self) -> None:
        """Take the accelerators' memory back."""
        if self.asleep:
            self._all(lambda worker: worker.wake.remote(), "wake")
            self.asleep = False

    # Joining and leaving ---------------------------------------------------------------------

    def follow_scale(self) -> None:
        """Take up and let go of workers as `medray scale` asks for."""
        self.scaler.follow(busy={m.name for m in self.workers if m.held})

    def _recruit(self, index: int) -> RolloutWorker:
        """A new worker, on its way up."""
        worker = RolloutWorker(f"rollout-{index}", index, self._spawn(index), State.STARTING)
        worker.wait_for(worker.start())
        return worker

    # Death and return ------------------------------------------------------------------------

    def revive(self, name: str, loss: WorkerLost) -> Ref | None:
        """Replace a worker that died while the job starts: the ref of its new start, None where none has the name."""
        with self._lock:
            for worker in self.workers:
                if worker.name == name:
                    self._mark_dead(worker, "start", loss)
                    return worker.coming
        return None

    def _blame(self, worker: RolloutWorker, reason: str) -> None:
        """Count a failure against every group that was in flight where it happened."""
        for group in worker.held.values():
            prompt_id = group.prompt.record.id
            text = f"{MAX_FAILURES} workers failed with prompt {prompt_id} in flight: {reason}"
            self._failures.again(group.ticket, RestartBudgetExhausted(f"generate: {text}"))

    def _mark_dead(self, worker: RolloutWorker, doing: str, loss: WorkerLost) -> None:
        """Record a death, put its groups first in the queue, and start the replacement."""
        if not self.can_revive:
            raise loss
        self.restarts.use(worker.name, doing, loss)
        lost = len(worker.held)
        cost = f"{lost} groups sampled again" if lost else "nothing"
        self.incidents.add("death", worker.name, doing, cost)
        for group in reversed(worker.lose()):
            self._queue_first(group)
        self._silence.heard(ALL)
        worker.to(State.DEAD)
        worker.handle = self._spawn(worker.index)
        worker.to(State.STARTING)
        worker.taking, worker.returning = -1, True
        worker.wait_for(worker.start())

    def _settle(self) -> None:
        """Take note of starts and loads that have ended, without waiting for any."""
        coming = {m.coming: m for m in self.workers if m.coming is not None}
        for ref in ready_of(list(coming), 0):
            worker = coming[ref]
            worker.coming = None
            doing = "start" if worker.state is State.STARTING else f"weight sync {worker.taking}"
            try:
                answer = fetch(ref, name=worker.name, doing=doing)
            except WorkerLost as loss:
                self._mark_dead(worker, doing, loss)
                continue
            if worker.state is State.STARTING:
                worker.to(State.STALE)
            else:
                self._began |= {t: worker.taking for t in answer.untouched if t in self._began}
                if worker.taking == self.version:
                    self._gap = max(self._gap, answer.gap)
                    self._serve(worker)
            if worker.state is State.STALE and self.newest is not None:
                self._give_weights(worker)

    def _serve(self, worker: RolloutWorker) -> None:
        worker.to(State.SERVING)
        if worker.returning:
            worker.returning = False
            self.incidents.add("restart", worker.name, f"weights {self.version}", "nothing")

    def _up(self) -> list[RolloutWorker]:
        up = (State.STALE, State.SERVING)
        return [m for m in self.workers if m.state in up and m.coming is None]

    def _all(self, call: Callable[[Any], Ref], doing: str) -> dict[str, Any]:
        calls = {m.name: call(m.handle) for m in self._up()}
        return gather(
            calls,
            deadline_s=self.deadlines.sync_s,
            doing=doing,
            key="deadlines.sync_s",
            check=self.failure.check,
        )
