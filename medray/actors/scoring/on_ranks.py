"""Reward models on the learner's own ranks (`roles.layout=shared`), driven like a pool of reward actors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from medray.actors.groups import GroupHandle
from medray.actors.ray_calls.pending import Pending
from medray.actors.ray_calls.wait import Ref
from medray.config.ppo import PpoJob
from medray.errors import WorkerLost
from medray.types import GroupScore


class RankRewards:
    """Reward models that the learner's own ranks hold, as a pool of graders."""

    def __init__(self, ranks: Sequence[Any], job: PpoJob) -> None:
        self.ranks = list(ranks)
        # A rank may be in the middle of an update.
        self._scores = Pending("score", job.deadlines.grade_s + job.deadlines.update_s)

    @property
    def workers(self) -> dict[str, Any]:
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
            ref = self.ranks[rank].score.remote(group.tokens)
            prompt_id = group.prompt.record.id
            self._scores.add(ref, group.ticket, f"learner rank {rank} (prompt {prompt_id})")

    def refs(self) -> list[Ref]:
        """What to wait for: one of these is ready when `take` has something to do."""
        return self._scores.refs()

    def take(self, ready: Iterable[Ref]) -> dict[int, GroupScore | None]:
        """Scores that have come, by ticket.

        Raises:
            GraderError: a model gave no usable score. It would again, so it is not retried.
            DeadlineExceeded, WorkerLost: name the rank.
        """
        return self._scores.take(ready)
