"""A process that computes rewards and keeps the rollouts' record."""

from __future__ import annotations

import time
from collections.abc import Sequence

import ray

from medray.actors.wait import Ref, Started
from medray.config.rl import RlJob
from medray.observability.rollouts import write_rollouts
from medray.rewards.mixture import build_rewards
from medray.types import Floats, GroupScore, RolloutGroup


@ray.remote
class GraderActor:
    """Scores groups with the job's reward mixture."""

    def __init__(self, job: RlJob, index: int) -> None:
        self.job = job
        self.index = index

    def start(self) -> Started:
        """Build the rewards."""
        began = time.monotonic()
        self.rewards = build_rewards(self.job.rewards)
        return Started("grader", time.monotonic() - began)

    def alive(self) -> bool:
        """True, from a process that lives."""
        return True

    def score(self, group: RolloutGroup) -> GroupScore:
        """Rewards of one group."""
        return self.rewards.score(group)

    def record(
        self,
        step: int,
        groups: Sequence[Ref],
        scores: Sequence[GroupScore],
        advantages: Sequence[Floats],
    ) -> None:
        """Write the step's rollouts to the run folder."""
        fetched = ray.get(list(groups), timeout=self.job.deadlines.grade_s)
        write_rollouts(self.job.out, step, fetched, scores, advantages)
