"""All actors of an RL job: reserved, started in parallel, and let go of together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.placement_group import remove_placement_group

from medray.actors.collect import Collector, GraderPool, ReferenceScorer
from medray.actors.grader import GraderActor
from medray.actors.learner import LearnerActor, TrainItem
from medray.actors.learners import LearnerGroup
from medray.actors.placement import actor_options, reserve
from medray.actors.reference import ReferenceActor
from medray.actors.rollout import RolloutActor
from medray.actors.rollouts import RolloutPool
from medray.actors.wait import Ref, Started, gather
from medray.actors.weight_sync import WeightSync, make_sync
from medray.config.grpo import GrpoJob
from medray.config.resources import grpo_roles
from medray.observability.meters import Meters
from medray.types import GroupMeta


@dataclass
class Workers:
    """The job's actors, grouped by role."""

    job: GrpoJob
    learners: LearnerGroup
    rollouts: RolloutPool
    graders: GraderPool
    collector: Collector
    weight_sync: WeightSync
    starting: dict[str, Ref] = field(default_factory=dict)

    def wait_ready(self) -> dict[str, Started]:
        """Wait until every model is loaded; returns what each actor said of itself."""
        return gather(self.starting, deadline_s=self.job.deadlines.start_s, doing="start")

    def update(self, items: Sequence[TrainItem], metas: Sequence[GroupMeta]) -> Meters:
        """One optimizer step; engines that share the learner's accelerators sleep meanwhile."""
        if self.job.scale.colocate:
            self.rollouts.sleep()
        return self.learners.update(items, metas)

    def sync(self, version: int) -> float:
        """Have every engine take and prove the learner's weights; the largest gap in nats."""
        self.rollouts.wake()
        return self.weight_sync(version)

    @classmethod
    @contextmanager
    def launch(cls, job: GrpoJob, *, checkpoint: str | None = None) -> Iterator[Workers]:
        """Start every actor without waiting for its model; they are killed when the block ends."""
        roles = grpo_roles(job)
        group = reserve(
            roles, spread=job.scale.placement == "spread", deadline_s=job.deadlines.start_s
        )
        actors: list[Any] = []
        try:

            def start(name: str, kind: Any, *arguments: Any, numbered: bool = True) -> list[Any]:
                made = [
                    kind.options(**options).remote(job, *((i,) if numbered else ()), *arguments)
                    for i, options in enumerate(actor_options(group, roles, name))
                ]
                actors.extend(made)
                return made

            ranks = start("learner", LearnerActor)
            engines = start("rollout", RolloutActor)
            references = start("reference", ReferenceActor, numbered=False)
            graders = start("grader", GraderActor, numbered=False)
            yield cls._assemble(job, ranks, engines, references, graders, checkpoint)
        finally:
            for actor in actors:
                ray.kill(actor)
            remove_placement_group(group)

    @classmethod
    def _assemble(
        cls, job: GrpoJob, ranks: Sequence[Any], engines: Sequence[Any], references: Sequence[Any],
        graders: Sequence[Any], checkpoint: str | None,
    ) -> Workers:  # fmt: skip
        address = ranks[0].rendezvous.remote()
        starting = {
            f"learner rank {r}": a.start.remote(address, checkpoint) for r, a in enumerate(ranks)
        }
        starting |= {f"rollout-{i}": a.start.remote() for i, a in enumerate(engines)}
        starting |= {f"reference-{i}": a.start.remote() for i, a in enumerate(references)}
        starting |= {f"grader-{i}": a.start.remote() for i, a in enumerate(graders)}
        learners = LearnerGroup(ranks, job)
        rollouts = RolloutPool(engines, job)
        pool = GraderPool(graders, job.deadlines)
        reference: ReferenceScorer | None = None
        if job.algorithm.kl.coef > 0:
            reference = _ReferencePool(references) if references else learners
        return cls(
            job,
            learners,
            rollouts,
            pool,
            Collector(rollouts, pool, reference, job.deadlines),
            make_sync(job, learners, rollouts),
            starting,
        )


class _ReferencePool:
    def __init__(self, actors: Sequence[Any]) -> None:
        self.actors = list(actors)

    def reference_logprobs(self, index: int, group: Ref) -> tuple[Ref, Ref]:
        kl, logprobs = (
            self.actors[index % len(self.actors)]
            .reference_logprobs.options(num_returns=2)
            .remote(group)
        )
        return kl, logprobs
