"""The ranks of the critic, driven as one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from medray.actors.groups import GroupHandle, TrainItem
from medray.actors.ray_calls.failure import RunFailure
from medray.actors.ray_calls.wait import Ref, gather
from medray.actors.training.learner_group import step_calls
from medray.config.ppo import PpoJob
from medray.types import Floats, GroupMeta

if TYPE_CHECKING:
    from medray.learners.estimates import EstimateSummary


class CriticGroup:
    """All ranks that hold the critic. Every method that waits does so within the job's deadlines."""

    def __init__(
        self,
        ranks: Sequence[Any],
        job: PpoJob,
        *,
        name: str = "critic",
        failure: RunFailure | None = None,
    ) -> None:
        """`failure`: of the run, which ends every wait."""
        self.failure = failure or RunFailure()
        self.ranks = list(ranks)
        self.deadlines = job.deadlines
        self.name = name
        self.shards_weights = job.learner.shards_weights
        self._lock = (
            threading.Lock()
        )  # ranks that compute together must be called in the same order

    def values(self, index: int, group: Ref) -> Ref:
        """Start valuing a group's tokens, on the ranks in turn; every later step of the critic comes after.

        Where each rank holds a part of the weights, all take part, the others without a group.
        """
        own = index % len(self.ranks)
        if not self.shards_weights:
            return self.ranks[own].values.remote(group)
        with self._lock:
            calls = [
                rank.values.remote(group if r == own else None) for r, rank in enumerate(self.ranks)
            ]
        return calls[own]

    def estimate(
        self, groups: Sequence[GroupHandle], scores: Sequence[Floats], kl_coef: float
    ) -> tuple[list[EstimateSummary], list[Ref]]:
        """Advantages and returns of every group; what the driver may know of them, and where they are."""
        summaries: dict[str, Ref] = {}
        estimates: list[Ref] = []
        for i, (scored, own) in enumerate(zip(groups, scores, strict=True)):
            rank = self.ranks[i % len(self.ranks)]
            summary, found = rank.estimate.options(num_returns=2).remote(
                scored.tokens, scored.values, scored.reference, own, kl_coef
            )
            summaries[f"{self.name} rank {i % len(self.ranks)} [{i}]"] = summary
            estimates.append(found)
        known = gather(
            summaries,
            deadline_s=self.deadlines.update_s,
            doing="estimate advantages",
            key="deadlines.update_s",
            check=self.failure.check,
            in_turn=True,
        )
        return list(known.values()), estimates

    def fit_calls(
        self, items: Sequence[TrainItem], metas: Sequence[GroupMeta], place: int
    ) -> dict[str, Ref]:
        """Start one optimizer step over `items`; one call a rank, each to give its `Meters`."""
        with self._lock:
            calls = step_calls(
                self.ranks, lambda rank, *own: rank.fit.remote(*own, place), self.name, items, metas
            )
        # The same ranks may hold the policy and be called for its step, too.
        return {f"{name} (critic's step)": ref for name, ref in calls.items()}

    def save(self, step: int) -> str:
        """Write a checkpoint; returns its folder."""
        with self._lock:
            calls = {
                f"{self.name} rank {r}": rank.save_critic.remote(step)
                for r, rank in enumerate(self.ranks)
            }
        saved = gather(
            calls,
            deadline_s=self.deadlines.save_s,
            doing="save critic",
            key="deadlines.save_s",
            check=self.failure.check,
        )
        return saved[f"{self.name} rank 0"]
