"""Reward models on the learner's own ranks (`roles.layout=shared`), driven like a pool of reward actors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from medray.actors.groups import GroupHandle
from medray.actors.ray_calls.pending import Pending
from medray.actors.ray_calls.wait import Ref
from medray.actors.supervision.incidents import Incidents
from medray.actors.supervision.retries import Retries
from medray.config.ppo import PpoJob
from medray.config.reward import MODEL
from medray.errors import GraderError, WorkerLost
from medray.types import GroupScore


class RankRewards:
    """Reward models that the learner's own ranks hold, as a pool of graders."""

    def __init__(self, ranks: Sequence[Any], job: PpoJob, incidents: Incidents) -> None:
        self.ranks = list(ranks)
        self.incidents = incidents
        self.job = job
        # A model that gave no usable score would give none again.
        self._errors = Retries(0, job.grading.on_failure)
        deadlines = job.deadlines
        # A rank may be in the middle of an update.
        self._scores = Pending(
            "score",
            deadlines.grade_s + deadlines.update_s,
            "deadlines.grade_s + deadlines.update_s",
        )
        self._groups: dict[int, GroupHandle] = {}  # under way, by ticket

    @property
    def handles(self) -> dict[str, Any]:
        """No processes of their own."""
        return {}

    def start(self) -> dict[str, Ref]:
        """They start with the ranks."""
        return {}

    def revive(self, name: str, loss: WorkerLost) -> Ref | None:
        """None: whoever died, it is not replaced here."""

    def submit(self, groups: Sequence[GroupHandle]) -> None:
        """Start scoring groups, on the ranks in turn."""
        for group in groups:
            rank = group.ticket % len(self.ranks)
            self._groups[group.ticket] = group
            ref = self.ranks[rank].score.remote(group.tokens)
            about = f"prompt {group.prompt.record.id}, reward {MODEL}"
            self._scores.add(ref, group.ticket, f"learner rank {rank}", about)

    def refs(self) -> list[Ref]:
        """What to wait for: one of these is ready when `take` has something to do."""
        return self._scores.refs()

    def take(self, ready: Iterable[Ref]) -> dict[int, GroupScore | None]:
        """Scores that have come, by ticket, None for a group that was dropped.

        Raises:
            GraderError: a model gave no usable score, and `grading.on_failure` is stop.
            DeadlineExceeded, WorkerLost: name the rank.
        """
        scores: dict[int, GroupScore | None] = {}
        for ticket, [answer] in self._scores.take(ready).items():
            group = self._groups.pop(ticket)
            if isinstance(answer, GraderError):
                self._errors.again(ticket, answer)
                rank = f"learner rank {ticket % len(self.ranks)}"
                self.incidents.add(
                    "drop", rank, "score", f"prompt {group.prompt.record.id}: {answer}"
                )
                answer = None
            scores[ticket] = answer
        return scores
