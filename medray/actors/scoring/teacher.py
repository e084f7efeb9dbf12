"""The teacher of a distillation in vLLM, as a Ray actor."""

from __future__ import annotations

import ray

from medray.actors.ray_calls.wait import Started
from medray.actors.supervision.node_probe import MonitoredActor
from medray.config.rl import RlJob
from medray.types import RolloutGroup, TopTokens


@ray.remote
class TeacherActor(MonitoredActor):
    """Says of groups what its model would have said in the place of every sampled token."""

    def __init__(self, job: RlJob, index: int) -> None:
        self.job = job
        self.index = index

    def start(self) -> Started:
        """Load the teacher's vLLM engine and report when it is ready."""
        from medray.engines.build import engine_kind

        job = self.job
        assert job.algorithm.distill is not None
        self.engine = engine_kind(job.rollout.engine).teacher(
            job.algorithm.distill,
            job.rollout.engine,
            max_tokens=job.data.max_prompt_tokens + job.rollout.max_new_tokens,
            threads=job.workers.teacher.num_threads,
        )
        return Started.now(f"teacher-{self.index}")

    def teach(self, group: RolloutGroup) -> tuple[int, list[TopTokens]]:
        """Score a group; returns the number of tokens that were scored, and `TopTokens` of each response."""
        taught = self.engine.top_tokens(group)
        return sum(len(t.ids) for t in taught), taught
