"""The grader processes: deaths are routine, and a grader that cannot judge is retried, never scored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from medray.actors.incidents import Incidents
from medray.actors.wait import Ref, fetch, gather, ready_of
from medray.config.rl import RlJob
from medray.errors import DeadlineExceeded, GraderError, WorkerLost
from medray.types import Floats, GroupScore

if TYPE_CHECKING:
    from medray.actors.collect import ScoredGroup


_Rows = tuple[int, list[Ref], list[GroupScore], list[Floats]]  # what one step's record is made from


@dataclass
class _Ticket:
    index: int
    prompt_id: str
    group: Ref
    grader: int
    tries: int = 1


class _Again(Exception):
    """The group has to be graded once more."""


class GraderPool:
    """All graders. A dead one is replaced and its groups are graded again."""

    def __init__(
        self,
        spawn: Callable[[int], Any],
        num_graders: int,
        job: RlJob,
        incidents: Incidents,
        *,
        name: str = "grader",
    ) -> None:
        self._spawn = spawn
        self.name = name
        self.graders = [spawn(i) for i in range(num_graders)]
        self.job = job
        self.deadlines = job.deadlines
        self.incidents = incidents
        self.restarts_left = job.scale.max_restarts
        self._tickets: dict[Ref, _Ticket] = {}
        self._load = [0] * num_graders  # groups with each
        self._look_again = 0.0  # when to look for late verdicts next, monotonic seconds
        self._since: dict[int, float] = {}  # grader -> when it last began or answered, monotonic
        self._record: tuple[_Rows, Ref] | None = None
        self._lock = threading.RLock()

    @property
    def workers(self) -> dict[str, Any]:
        """Handles of the processes, by name."""
        return {f"{self.name}-{i}": grader for i, grader in enumerate(self.graders)}

    def start(self) -> dict[str, Ref]:
        """Have every process build its rewards; refs to what each says of itself, by name."""
        return {name: grader.start.remote() for name, grader in self.workers.items()}

    def submit(self, index: int, prompt_id: str, group: Ref) -> None:
        """Start grading a group, by the grader with the fewest to judge."""
        with self._lock:
            grader = min(range(len(self.graders)), key=self._load.__getitem__)
            if not self._load[grader]:
                self._since[grader] = time.monotonic()
            self._send(_Ticket(index, prompt_id, group, grader))

    def refs(self) -> list[Ref]:
        """What to wait for: one of these is ready when `take` has something to do."""
        with self._lock:
            return list(self._tickets)

    def take(self, ready: Iterable[Ref]) -> dict[int, GroupScore | None]:
        """Verdicts that have come, by index, None for a group that was dropped.

        Args:
            ready: which of `refs` are; others are passed over.

        Raises:
            GraderError: a group could not be judged in `grading.retries` further tries, and `grading.on_failure`
                is stop.
            DeadlineExceeded: a verdict is late; names grader and prompt.
        """
        scores: dict[int, GroupScore | None] = {}
        with self._lock:
            for ref in ready:
                if (ticket := self._tickets.pop(ref, None)) is None:
                    continue
                self._since[ticket.grader] = time.monotonic()
                self._load[ticket.grader] -= 1
                try:
                    scores[ticket.index] = self._verdict(ticket, ref)
                except _Again:
                    self._send(ticket)
            self._require_progress()
        return scores

    def results(self) -> dict[int, GroupScore | None]:
        """Wait for everything submitted; verdicts by index."""
        scores: dict[int, GroupScore | None] = {}
        while refs := self.refs():
            scores |= self.take(ready_of(refs, 1.0))
        return scores

    def _require_progress(self) -> None:
        limit, now = self.deadlines.grade_s, time.monotonic()
        if now < self._look_again:
            return
        self._look_again = now + 1
        late = [t for t in self._tickets.values() if now - self._since[t.grader] > limit]
        if late:
            self._tickets.clear()
            texts = ", ".join(f"{self.name}-{t.grader} (prompt {t.prompt_id})" for t in late)
            names = tuple(sorted({f"{self.name}-{t.grader}" for t in late}))
            raise DeadlineExceeded(f"grade: no answer from {texts} within {limit:g} s", names)

    def _send(self, ticket: _Ticket) -> None:
        ref = self.graders[ticket.grader].score.remote(ticket.group)
        self._tickets[ref] = ticket
        self._load[ticket.grader] += 1

    def record(self, step: int, batch: Sequence[ScoredGroup], advantages: Sequence[Floats]) -> None:
        """Write the step's rollouts to the run folder while training goes on."""
        self.finish_records()
        rows = (step, [s.group for s in batch], [s.score for s in batch], list(advantages))
        self._record = (rows, self._write(rows))

    def finish_records(self) -> None:
        """Wait for the last record to be on disk; one whose writer died is written by another."""
        while self._record is not None:
            rows, ref = self._record
            doing = f"write the rollouts of step {rows[0]}"
            name = f"{self.name}-{rows[0] % len(self.graders)}"
            try:
                gather({name: ref}, deadline_s=self.deadlines.save_s, doing=doing)
                self._record = None
            except WorkerLost as loss:
                with self._lock:
                    self._replace(rows[0] % len(self.graders), loss)
                self.incidents.add("death", name, doing, "written again")
                self._record = (rows, self._write(rows))

    def _write(self, rows: _Rows) -> Ref:
        return self.graders[rows[0] % len(self.graders)].record.remote(*rows)

    def _verdict(self, ticket: _Ticket, ref: Ref) -> GroupScore | None:
        name = f"{self.name}-{ticket.grader}"
        try:
            return fetch(ref, name=name, doing="grade")
        except WorkerLost as loss:
            self._replace(ticket.grader, loss)
            self.incidents.add("death", name, "grade", f"prompt {ticket.prompt_id} graded again")
        except GraderError as error:
            if ticket.tries > self.job.grading.retries:
                if self.job.grading.on_failure == "stop":
                    raise
                self.incidents.add("drop", name, "grade", f"prompt {ticket.prompt_id}: {error}")
                return None
            self.incidents.add("retry", name, "grade", f"prompt {ticket.prompt_id}: {error}")
            ticket.tries += 1
        raise _Again

    def _replace(self, index: int, loss: WorkerLost) -> None:
        if ray.wait([self.graders[index].alive.remote()], timeout=5)[0] and self._answers(index):
            return  # an earlier ticket of the same grader had it replaced already
        if self.restarts_left <= 0:
            raise loss
        self.restarts_left -= 1
        self.graders[index] = self._spawn(index)
        self.graders[index].start.remote()

    def _answers(self, index: int) -> bool:
        try:
            return bool(
                fetch(self.graders[index].alive.remote(), name=f"{self.name}-{index}", doing="ask")
            )
        except WorkerLost:
            return False
