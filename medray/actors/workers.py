"""All actors of an RL job: reserved, started in parallel, and let go of together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from medray.actors.collect import Collector, ReferenceScorer
from medray.actors.grader import GraderActor
from medray.actors.graders import GraderPool
from medray.actors.incidents import Incidents
from medray.actors.learner import LearnerActor, TrainItem
from medray.actors.learners import LearnerGroup
from medray.actors.placement import actor_options, reserve
from medray.actors.reference import ReferenceActor
from medray.actors.rollout import RolloutActor
from medray.actors.rollouts import RolloutPool
from medray.actors.wait import Ref, Started, gather
from medray.actors.weight_sync import WeightSync, make_sync
from medray.config.resources import Role, rl_roles
from medray.config.rl import RlJob
from medray.observability.meters import Meters
from medray.types import GroupMeta


@dataclass
class Workers:
    """The job's actors, grouped by role."""

    job: RlJob
    learners: LearnerGroup
    rollouts: RolloutPool
    graders: GraderPool
    collector: Collector
    weight_sync: WeightSync
    incidents: Incidents
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
    def launch(cls, job: RlJob, *, checkpoint: str | None = None) -> Iterator[Workers]:
        """Start every actor without waiting for its model; they are killed when the block ends."""
        roles = rl_roles(job)
        group = reserve(
            roles, spread=job.scale.placement == "spread", deadline_s=job.deadlines.start_s
        )
        crew = _Crew(job, roles, group)
        try:
            yield cls._assemble(job, crew, checkpoint)
        finally:
            crew.dismiss()
            remove_placement_group(group)

    @classmethod
    def _assemble(cls, job: RlJob, crew: _Crew, checkpoint: str | None) -> Workers:
        incidents = Incidents(job.out)
        learners = LearnerGroup(crew.all("learner", LearnerActor), job)
        references = crew.all("reference", ReferenceActor)
        rollouts = RolloutPool(
            lambda i: crew.one("rollout", RolloutActor, i),
            job.scale.rollout_workers,
            job,
            incidents,
        )
        graders = GraderPool(
            lambda i: crew.one("grader", GraderActor, i), job.scale.graders, job, incidents
        )
        address = learners.ranks[0].rendezvous.remote()
        starting = {
            f"learner rank {r}": a.start.remote(address, checkpoint)
            for r, a in enumerate(learners.ranks)
        }
        starting |= {m.name: m.handle.start.remote() for m in rollouts.members}
        starting |= {f"reference-{i}": a.start.remote() for i, a in enumerate(references)}
        starting |= {f"grader-{i}": a.start.remote() for i, a in enumerate(graders.graders)}
        reference: ReferenceScorer | None = None
        if job.algorithm.kl.coef > 0:
            reference = _ReferencePool(references) if references else learners
        return cls(
            job,
            learners,
            rollouts,
            graders,
            Collector(rollouts, graders, reference, job.deadlines),
            make_sync(job, learners, rollouts),
            incidents,
            starting,
        )


class _Crew:
    """Starts actors in their places, again where one died, and lets all of them go."""

    def __init__(self, job: RlJob, roles: Sequence[Role], group: PlacementGroup) -> None:
        self.job = job
        self.options = {role.name: actor_options(group, roles, role.name) for role in roles}
        self.actors: list[Any] = []

    def one(self, role: str, kind: Any, index: int) -> Any:
        """An actor in place `index` of its role."""
        actor = kind.options(**self.options[role][index]).remote(self.job, index)
        self.actors.append(actor)
        return actor

    def all(self, role: str, kind: Any) -> list[Any]:
        """One actor in every place of the role; none where the job has no such role."""
        return [self.one(role, kind, i) for i in range(len(self.options.get(role, ())))]

    def dismiss(self) -> None:
        """Kill every actor that was started."""
        for actor in self.actors:
            ray.kill(actor)


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
