"""The actor that writes rollouts to the run folder, while training goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from medray.actors.groups import GroupHandle
from medray.actors.ray_calls.failure import RunFailure
from medray.actors.ray_calls.wait import Ref, gather
from medray.actors.supervision.incidents import Incidents
from medray.actors.supervision.node_probe import MonitoredActor
from medray.actors.supervision.restart_budget import RestartBudget
from medray.config.rl import RlJob
from medray.errors import WorkerLost
from medray.storage.mirror import mirror_of
from medray.storage.rollout_files import write_rollouts
from medray.types import Floats, GroupScore

NAME = "writer"


@ray.remote
class WriterActor(MonitoredActor):
    """Fetches the groups of a step and writes them as one file."""

    def __init__(self, job: RlJob) -> None:
        self.job = job

    def write(
        self,
        step: int,
        groups: Sequence[Ref],
        scores: Sequence[GroupScore],
        advantages: Sequence[Floats],
    ) -> None:
        """Write the step's rollouts to the run folder and to its mirror, if there is one."""
        fetched = ray.get(list(groups), timeout=self.job.deadlines.save_s)
        written = write_rollouts(self.job.out, step, fetched, scores, advantages)
        if mirror := mirror_of(self.job):
            mirror.push(written)


@dataclass(frozen=True)
class _Record:
    """A step's rollouts on their way to disk; the references keep the groups alive until they are there."""

    step: int
    groups: list[Ref]
    scores: list[GroupScore]
    advantages: list[Floats]


class RolloutWriter:
    """One step's rollouts are under way at a time; a dead writer is replaced and writes them again."""

    def __init__(
        self,
        spawn: Callable[[], Any],
        job: RlJob,
        incidents: Incidents,
        failure: RunFailure | None = None,
    ) -> None:
        """`failure`: of the run, which ends every wait."""
        self.failure = failure or RunFailure()
        self._spawn = spawn
        self._actor = spawn()
        self.deadline_s = job.deadlines.save_s
        self.incidents = incidents
        self.restarts = RestartBudget(job.workers.max_restarts, incidents)
        self._pending: tuple[_Record, Ref] | None = None

    def record(self, step: int, batch: Sequence[GroupHandle], advantages: Sequence[Floats]) -> None:
        """Start writing a step's rollouts, once the step's before are on disk.

        Raises:
            ResourceError: the disk is full, found while the step before was written.
            DeadlineExceeded: that step was not written within `deadlines.save_s`.
        """
        self.finish()
        groups, scores = [group.tokens for group in batch], [group.score for group in batch]
        self._write(_Record(step, groups, scores, list(advantages)))

    def finish(self) -> None:
        """Wait until everything is on disk.

        Raises:
            ResourceError, DeadlineExceeded: as `record`.
        """
        while self._pending is not None:
            record, ref = self._pending
            doing = f"write the rollouts of step {record.step}"
            try:
                gather(
                    {NAME: ref},
                    deadline_s=self.deadline_s,
                    doing=doing,
                    key="deadlines.save_s",
                    check=self.failure.check,
                )
                self._pending = None
            except WorkerLost as loss:
                self.restarts.use(NAME, doing, loss)
                self._actor = self._spawn()
                self.incidents.add("death", NAME, doing, "written again")
                self._write(record)

    def _write(self, record: _Record) -> None:
        ref = self._actor.write.remote(record.step, record.groups, record.scores, record.advantages)
        self._pending = record, ref
