"""The frozen reference model as a Ray actor."""

from __future__ import annotations

import ray

from medray.actors.ray_calls.wait import Started
from medray.actors.supervision.node_probe import MonitoredActor
from medray.config.rl import RlJob
from medray.system.cpu import use_cpu
from medray.types import Floats, ResponseKl, RolloutGroup


@ray.remote
class ReferenceActor(MonitoredActor):
    """Scores groups under the model that training started from."""

    def __init__(self, job: RlJob, index: int) -> None:
        self.job = job
        self.index = index

    def start(self) -> Started:
        """Load the frozen reference model and report when it is ready."""
        use_cpu(self.job.workers.reference.num_threads)
        from medray.learners.scorer import Scorer
        from medray.models.load import load_policy

        policy = load_policy(self.job.model, seed=self.job.seed, trainable=False)
        self.scorer = Scorer(
            policy, temperature=self.job.rollout.temperature, config=self.job.learner
        )
        return Started.now("reference")

    def reference_logprobs(
        self, group: RolloutGroup
    ) -> tuple[tuple[ResponseKl, ...], list[Floats]]:
        """Score a group; returns (KL to the reference of each response in nats, log-probs)."""
        from medray.learners.reference import score_reference

        return score_reference(self.scorer, group, self.job.algorithm.kl.estimator)
