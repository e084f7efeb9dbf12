"""The grader processes: a dead one is replaced, and a group that cannot be graded is retried, never scored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from medray.actors.groups import GroupHandle, prompt_ids
from medray.actors.ray_calls.silence import Silence
from medray.actors.ray_calls.wait import Ref, fetch, ready_of
from medray.actors.supervision.incidents import Incidents
from medray.actors.supervision.restart_budget import RestartBudget
from medray.actors.supervision.retries import Retries
from medray.config.reward import by_role, reward_names
from medray.config.rl import RlJob
from medray.errors import DeadlineExceeded, GraderError, WorkerLost
from medray.types import GroupScore

MAX_DEATHS = 3  # of graders at the same group, which is then taken for the reason


@dataclass
class Grader:
    """A grader process, and the groups that it was sent."""

    name: str
    index: int
    handle: Any
    coming: Ref | None = None  # the start of a replacement
    held: dict[Ref, GroupHandle] = field(
        default_factory=dict[Ref, GroupHandle]
    )  # in the order they were sent, which is that in which they are graded


class RewardPool:
    """All graders of one role. A dead one is replaced and its groups are graded again."""

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
        self.graders = [Grader(f"{name}-{i}", i, spawn(i)) for i in range(num_graders)]
        self.deadlines = job.deadlines
        self.incidents = incidents
        self.restarts = RestartBudget(job.workers.max_restarts, incidents)
        self._rewards = ", ".join(reward_names(by_role(job.rewards).get(name, ()))) or "none"
        self._errors = Retries(job.grading.retries, job.grading.on_failure)
        self._deaths = Retries(MAX_DEATHS - 1, job.grading.on_failure)
        self._silence = Silence()
        self._lock = threading.RLock()

    @property
    def handles(self) -> dict[str, Any]:
        """Handles of the processes, replacements included, by name."""
        return {grader.name: grader.handle for grader in self.graders}

    def start(self) -> dict[str, Ref]:
        """Have every process build its rewards; refs to what each says of itself, by name."""
        return {name: grader.start.remote() for name, grader in self.handles.items()}

    def revive(self, name: str, loss: WorkerLost) -> Ref | None:
        """Replace a process that died while the job starts: the ref of its new start, None where none has the name."""
        with self._lock:
            for grader in self.graders:
                if grader.name == name:
                    self._restart(grader, "start", loss)
                    self.incidents.add("death", name, "start", "nothing")
                    return grader.coming
        return None

    def submit(self, groups: Sequence[GroupHandle]) -> None:
        """Start grading groups, each on the grader with the fewest to grade."""
        with self._lock:
            for group in groups:
                self._send(group)

    def refs(self) -> list[Ref]:
        """What to wait for: one of these is ready when `take` has something to do."""
        with self._lock:
            starting = [m.coming for m in self.graders if m.coming is not None]
            return starting + [ref for grader in self.graders for ref in grader.held]

    def take(self, ready: Iterable[Ref]) -> dict[int, GroupScore | None]:
        """Scores that have come, by ticket, None for a group that was dropped.

        Args:
            ready: which of `refs` are; others are passed over.

        Raises:
            GraderError: a group could not be graded in `grading.retries` further tries, or three graders died of it,
                and `grading.on_failure` is stop.
            DeadlineExceeded: a grader is silent; names grader, prompt and reward.
            RestartBudgetExhausted: graders died more often than they may be replaced.
        """
        known = list(ready)
        scores: dict[int, GroupScore | None] = {}
        with self._lock:
            for grader in self.graders:
                if grader.coming in known:
                    scores |= self._settle(grader)
                for ref in [ref for ref in known if ref in grader.held]:
                    if ref in grader.held:  # no death among those before it
                        scores |= self._receive(grader, ref)
            self._require_progress()
        return scores

    def results(self) -> dict[int, GroupScore | None]:
        """Wait for everything submitted; scores by ticket."""
        scores: dict[int, GroupScore | None] = {}
        while any(grader.held for grader in self.graders):
            scores |= self.take(ready_of(self.refs(), 1.0))
        return scores

    def _send(self, group: GroupHandle) -> None:
        grader = min(self.graders, key=lambda m: (m.coming is not None, len(m.held)))
        if not grader.held:
            self._silence.heard(grader.name)
        # One call a group: the first that is not answered is the one that is being graded, so that whoever hangs or
        # dies is known with its prompt.
        grader.held[grader.handle.score.remote(group.tokens)] = group

    def _receive(self, grader: Grader, ref: Ref) -> dict[int, GroupScore | None]:
        """What a grader answered, by ticket; a group that it could not grade is on its way to one again."""
        group = grader.held[ref]
        try:
            answer = self._fetch(grader, ref)
        except WorkerLost as loss:
            return self._on_death(grader, "grade", loss)
        del grader.held[ref]
        self._silence.heard(grader.name)
        if isinstance(answer, GraderError):
            again = self._errors.again(group.ticket, answer)
            cost = f"prompt {group.prompt.record.id}: {answer}"
            self.incidents.add("retry" if again else "drop", grader.name, "grade", cost)
            if again:
                self._send(group)
                return {}
            answer = None
        self._errors.forget(group.ticket)
        self._deaths.forget(group.ticket)
        return {group.ticket: answer}

    def _fetch(self, grader: Grader, ref: Ref) -> GroupScore | GraderError:
        if grader.coming is not None:  # one that could not start fails in all that is asked of it
            self._started(grader)
        [answer] = fetch(ref, name=grader.name, doing="grade")
        return answer

    def _settle(self, grader: Grader) -> dict[int, GroupScore | None]:
        """Note that a replacement has started, or died."""
        try:
            self._started(grader)
        except WorkerLost as loss:
            return self._on_death(grader, "start", loss)
        return {}

    def _started(self, grader: Grader) -> None:
        fetch(grader.coming, name=grader.name, doing="start")
        grader.coming = None
        self._silence.heard(grader.name)

    def _on_death(
        self, grader: Grader, doing: str, loss: WorkerLost
    ) -> dict[int, GroupScore | None]:
        """Replace a grader and have its groups graded again, the one it died of last; returns that if it is dropped."""
        lost = list(grader.held.values())
        dropped: dict[int, GroupScore | None] = {}
        if lost and grader.coming is None:
            suspect = lost.pop(0)
            if self._deaths.again(suspect.ticket, self._deadly(suspect, loss)):
                # Behind the others: one whose answer was lost on the way is graded before the next death.
                lost.append(suspect)
            else:
                dropped[suspect.ticket] = None
                cost = f"prompt {suspect.prompt.record.id}: {MAX_DEATHS} graders died of it"
                self.incidents.add("drop", grader.name, doing, cost)
        grader.held.clear()
        self._restart(grader, doing, loss)
        cost = f"{prompt_ids(lost)} graded again" if lost else "nothing"
        self.incidents.add("death", grader.name, doing, cost)
        self.submit(lost)
        return dropped

    def _deadly(self, group: GroupHandle, loss: WorkerLost) -> GraderError:
        return GraderError(
            f"{MAX_DEATHS} graders died while they graded {self._about(group)}: {loss}"
        )

    def _about(self, group: GroupHandle) -> str:
        return f"prompt {group.prompt.record.id}, reward {self._rewards}"

    def _restart(self, grader: Grader, doing: str, loss: WorkerLost) -> None:
        self.restarts.use(grader.name, doing, loss)
        ray.kill(
            grader.handle
        )  # where a result was lost, it lives and holds the place of its replacement
        grader.handle = self._spawn(grader.index)
        grader.coming = grader.handle.start.remote()
        self._silence.heard(grader.name)

    def _require_progress(self) -> None:
        """Raise if a grader that has groups gave none back for the deadline, or a replacement did not start."""
        d = self.deadlines
        late = self._silence.late(
            lambda: {
                m.name: d.grade_s if m.coming is None else d.start_s for m in self.graders if m.held
            }
        )
        if late:
            texts = [self._silent(m) for m in self.graders if m.name in late]
            raise DeadlineExceeded("; ".join(texts), tuple(late))

    def _silent(self, grader: Grader) -> str:
        if grader.coming is not None:
            return f"start: no answer from {grader.name} for {self.deadlines.start_s:g} s (deadlines.start_s)"
        about = self._about(next(iter(grader.held.values())))
        limit = f"{self.deadlines.grade_s:g} s (deadlines.grade_s)"
        return f"grade: no answer from {grader.name} ({about}) for {limit}"
