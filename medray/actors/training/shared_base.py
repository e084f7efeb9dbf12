"""One base model for policy, critic, reward and reference, as a Ray actor."""

from __future__ import annotations

from typing import Any

import ray

from medray.actors.ray_calls.wait import Started
from medray.actors.training.critic import FOLDER, CriticDuties, critic_checkpoint
from medray.actors.training.learner import LearnerDuties
from medray.actors.training.rank import Rank
from medray.config.ppo import PpoJob
from medray.config.reward import by_role
from medray.errors import GraderError
from medray.rewards.mixture import RewardMixture, build_rewards
from medray.system.cpu import use_cpu
from medray.types import GroupScore, RolloutGroup


@ray.remote
class SharedActor(Rank, LearnerDuties, CriticDuties):
    """A rank with an adapter each for policy, critic and reward models over one frozen base."""

    job: PpoJob  # pyright: ignore[reportIncompatibleVariableOverride]

    def start(self, address: tuple[str, int], checkpoint: str | None) -> Started:
        """Join the other ranks, load the base, and put the adapters on it."""
        use_cpu(self.job.workers.learner.num_threads)
        from medray.learners.build import build_rl_objective
        from medray.learners.build_shared import build_shared

        critic = critic_checkpoint(self.job.out, checkpoint)
        self.bring(checkpoint)
        self.bring(critic, FOLDER)
        self.learner, self.critic = build_shared(self.job, self.rank, address, checkpoint, critic)
        self.objective = build_rl_objective(self.job, self.learner)
        self.rewards = self._rewards()
        return Started.now(self.learner.policy.describe())

    def score(self, *groups: RolloutGroup) -> list[GroupScore | GraderError]:
        """The reward models' part of each group's rewards; the error where a group could not be scored."""
        return [self.rewards.score_or_error(group) for group in groups]

    def _rewards(self) -> RewardMixture:
        from medray.models.adapters.shared_base import reward_model_on
        from medray.models.reward.scorer import PackedRewardScorer
        from medray.rewards.model import ModelReward

        own = by_role(self.job.rewards)["reward"]
        rewards = build_rewards(own) if own else RewardMixture(())
        for one in rewards.rewards:
            assert isinstance(one.reward, ModelReward)
            path = one.reward.options.model.path
            policy: Any = self.learner.policy
            one.reward.scorer = PackedRewardScorer(reward_model_on(policy, path))
        return rewards
