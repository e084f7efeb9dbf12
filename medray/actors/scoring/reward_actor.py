"""A process that computes rewards."""

from __future__ import annotations

import ray

from medray.actors.ray_calls.wait import Started
from medray.actors.supervision.node_probe import MonitoredActor
from medray.config.reward import by_role
from medray.config.rl import RlJob
from medray.errors import GraderError
from medray.rewards.mixture import RewardMixture, build_rewards
from medray.system.cpu import use_cpu
from medray.types import GroupScore, RolloutGroup


@ray.remote
class RewardActor(MonitoredActor):
    """Scores groups with the job's reward mixture."""

    def __init__(self, job: RlJob, index: int, role: str = "grader") -> None:
        self.job = job
        self.index = index
        self.role = role

    def start(self) -> Started:
        """Build the role's rewards and load their models."""
        if self.role == "reward":
            use_cpu(self.job.workers.reward.num_threads)
        own = by_role(self.job.rewards)[self.role]
        self.rewards = build_rewards(own) if own else RewardMixture(())
        self.rewards.load()
        return Started.now(self.role)

    def score(self, *groups: RolloutGroup) -> list[GroupScore | GraderError]:
        """Rewards of each group; the error where a group could not be scored."""
        return [self.rewards.score_or_error(group) for group in groups]
