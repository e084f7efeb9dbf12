"""The grader processes: deaths are routine, and a grader that cannot judge is retried, never scored."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from medray.actors.groups import GroupHandle, prompt_ids
from medray.actors.ray_calls.wait import Ref, fetch, ready_of
from medray.actors.supervision.incidents import Incidents
from medray.actors.supervision.restart_budget import RestartBudget
from medray.config.rl import RlJob
from medray.errors import DeadlineExceeded, GraderError, WorkerLost
from medray.types import GroupScore

MOST = 16  # groups that are sent to a grader together: those of one look at many rollout workers


@dataclass(frozen=True)
class _Sent:
    groups: Sequence[GroupHandle]
    grader: int
    actor: Any  # who was asked


class RewardPool:
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
        self.restarts = RestartBudget(job.workers.max_restarts, incidents)
        self._sent: dict[Ref, _Sent] = {}
        self._load = [0] * num_graders  # groups with each
        self._look_again = 0.0  # when to look for late verdicts next, monotonic seconds
        self._since: dict[int, float] = {}  # grader -> when it last began or answered, monotonic
        self._failures: Counter[int] = Counter()  # of grading, by ticket
        self._lock = threading.RLock()

    @property
    def workers(self) -> dict[str, Any]:
        """Handles of the processes, by name."""
        return {f"{self.name}-{i}": grader for i, grader in enumerate(self.graders)}

    def start(self) -> dict[str, Ref]:
        """Have every process build its rewards; refs to what each says of itself, by name."""
        return {name: grader.start.remote() for name, grader in self.workers.items()}

    def revive(self, name: str, loss: WorkerLost) -> Ref | None:
        """Replace a process that died while the job starts: the ref of its new start, None where none has the name."""
        with self._lock:
            names = list(self.workers)
            if name not in names:
                return None
            started = self._restart(names.index(name), "start", loss)
        self.incidents.add("death", name, "start", "nothing")
        return started

    def submit(self, groups: Sequence[GroupHandle]) -> None:
        """Start grading groups, spread over the graders, the one with the fewest to judge first."""
        size = min(MOST, math.ceil(len(groups) / len(self.graders))) or 1
        with self._lock:
            for first in range(0, len(groups), size):
                grader = min(range(len(self.graders)), key=self._load.__getitem__)
                if not self._load[grader]:
                    self._since[grader] = time.monotonic()
                self._send(groups[first : first + size], grader)

    def refs(self) -> list[Ref]:
        """What to wait for: one of these is ready when `take` has something to do."""
        with self._lock:
            return list(self._sent)

    def take(self, ready: Iterable[Ref]) -> dict[int, GroupScore | None]:
        """Scores that have come, by ticket, None for a group that was dropped.

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
                if (sent := self._sent.pop(ref, None)) is None:
                    continue
                self._since[sent.grader] = time.monotonic()
                self._load[sent.grader] -= len(sent.groups)
                scores |= self._verdicts(sent, ref)
            self._require_progress()
        return scores

    def results(self) -> dict[int, GroupScore | None]:
        """Wait for everything submitted; scores by ticket."""
        scores: dict[int, GroupScore | None] = {}
        while refs := self.refs():
            scores |= self.take(ready_of(refs, 1.0))
        return scores

    def _require_progress(self) -> None:
        limit, now = self.deadlines.grade_s, time.monotonic()
        if now < self._look_again:
            return
        self._look_again = now + 1
        late = [
            sent
            for sent in self._sent.values()
            if now - self._since[sent.grader] > limit * len(sent.groups)
        ]
        if late:
            self._sent.clear()
            texts = ", ".join(
                f"{self.name}-{sent.grader} ({prompt_ids(sent.groups)})" for sent in late
            )
            names = tuple(sorted({f"{self.name}-{sent.grader}" for sent in late}))
            raise DeadlineExceeded(
                f"grade: no answer from {texts} within {limit:g} s per group", names
            )

    def _send(self, groups: Sequence[GroupHandle], grader: int) -> None:
        sent = _Sent(groups, grader, self.graders[grader])
        self._sent[sent.actor.score.remote(*(g.tokens for g in groups))] = sent
        self._load[grader] += len(groups)

    def _verdicts(self, sent: _Sent, ref: Ref) -> dict[int, GroupScore | None]:
        """What a grader answered, by ticket; groups that it could not judge are on their way to it again."""
        name = f"{self.name}-{sent.grader}"
        try:
            answers: list[GroupScore | GraderError] = fetch(ref, name=name, doing="grade")
        except WorkerLost as loss:
            self._replace(sent.grader, sent.actor, "grade", loss)
            self.incidents.add("death", name, "grade", f"{prompt_ids(sent.groups)} graded again")
            self._send(sent.groups, sent.grader)
            return {}
        scores: dict[int, GroupScore | None] = {}
        again: list[GroupHandle] = []
        for group, answer in zip(sent.groups, answers, strict=True):
            if not isinstance(answer, GraderError):
                self._failures.pop(group.ticket, None)
                scores[group.ticket] = answer
            elif self._may_retry(group, answer, name):
                again.append(group)
            else:
                scores[group.ticket] = None
        if again:
            self._send(again, sent.grader)
        return scores

    def _may_retry(self, group: GroupHandle, error: GraderError, name: str) -> bool:
        """Note a failure; False where the group is to be dropped."""
        self._failures[group.ticket] += 1
        is_last = self._failures[group.ticket] > self.job.grading.retries
        if is_last and self.job.grading.on_failure == "stop":
            raise error
        kind = "drop" if is_last else "retry"
        self.incidents.add(kind, name, "grade", f"prompt {group.prompt.record.id}: {error}")
        return not is_last

    def _replace(self, index: int, dead: Any, doing: str, loss: WorkerLost) -> None:
        """Replace a grader, unless another of its groups has had that done."""
        if self.graders[index] is dead:
            self._restart(index, doing, loss)

    def _restart(self, index: int, doing: str, loss: WorkerLost) -> Ref:
        self.restarts.use(f"{self.name}-{index}", doing, loss)
        self.graders[index] = self._spawn(index)
        return self.graders[index].start.remote()
