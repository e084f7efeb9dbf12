"""One base model for policy, critic, reward and reference, as a Ray actor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ray

from medray.actors.critic import FOLDER, CriticDuties, critic_checkpoint
from medray.actors.graders import ToGrade
from medray.actors.learner import LearnerDuties
from medray.actors.pending import Pending
from medray.actors.rank import Rank
from medray.actors.wait import Ref, Started
from medray.config.ppo import PpoJob
from medray.config.reward import by_role
from medray.errors import WorkerLost
from medray.models.cpu import use_cpu
from medray.rewards.mixture import RewardMixture, build_rewards
from medray.types import GroupScore, RolloutGroup


@ray.remote
class SharedActor(Rank, LearnerDuties, CriticDuties):
    """A rank with an adapter each for policy, critic and reward models over one frozen base."""

    job: PpoJob  # pyright: ignore[reportIncompatibleVariableOverride]

    def start(self, address: tuple[str, int], checkpoint: str | None) -> Started:
        """Join the other ranks, load the base, and put the adapters on it."""
        use_cpu(self.job.scale.learner.num_threads)
        from medray.learners.build import build_rl_objective
        from medray.learners.build_shared import build_shared

        critic = critic_checkpoint(self.job.out, checkpoint)
        self.bring(checkpoint)
        self.bring(critic, FOLDER)
        self.learner, self.critic = build_shared(self.job, self.rank, address, checkpoint, critic)
        self.objective = build_rl_objective(self.job, self.learner)
        self.rewards = self._rewards()
        return Started.now(self.learner.policy.describe())

    def score(self, group: RolloutGroup) -> GroupScore:
        """The reward models' part of a group's rewards."""
        return self.rewards.score(group)

    def _rewards(self) -> RewardMixture:
        from medray.models.judges import PackedJudge
        from medray.models.shared_base import reward_model_on
        from medray.rewards.model import ModelReward

        own = by_role(self.job.rewards)["reward"]
        rewards = build_rewards(own) if own else RewardMixture(())
        for member in rewards.members:
            assert isinstance(member.reward, ModelReward)
            path = member.reward.options.model.path
            policy: Any = self.learner.policy
            member.reward.judge = PackedJudge(reward_model_on(policy, path))
        return rewards


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

    def submit(self, groups: Sequence[ToGrade]) -> None:
        """Start scoring groups, on the ranks in turn."""
        for group in groups:
            rank = group.index % len(self.ranks)
            ref = self.ranks[rank].score.remote(group.group)
            self._scores.add(ref, group.index, f"learner rank {rank} (prompt {group.prompt_id})")

    def refs(self) -> list[Ref]:
        """What to wait for: one of these is ready when `take` has something to do."""
        return self._scores.refs()

    def take(self, ready: Iterable[Ref]) -> dict[int, GroupScore | None]:
        """Scores that have come, by index.

        Raises:
            GraderError: a model gave no usable score. It would again, so it is not retried.
            DeadlineExceeded, WorkerLost: name the rank.
        """
        return self._scores.take(ready)
