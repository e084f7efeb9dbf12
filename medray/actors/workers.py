"""All actors of an RL job: reserved, started in parallel, and let go of together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.placement_group import remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from medray.actors.cluster.placement import Placement, outside, reserve
from medray.actors.collector import Collector, ReferenceScorer
from medray.actors.groups import GroupHandle, TrainItem
from medray.actors.ray_calls.failure import RunFailure
from medray.actors.ray_calls.wait import Ref, Started, gather
from medray.actors.rollout.actor import RolloutActor
from medray.actors.rollout.pool import RolloutPool
from medray.actors.scoring.on_ranks import RankRewards
from medray.actors.scoring.reference import ReferenceActor
from medray.actors.scoring.reward_actor import RewardActor
from medray.actors.scoring.reward_pool import RewardPool
from medray.actors.scoring.reward_pools import RewardPools
from medray.actors.scoring.teacher import TeacherActor
from medray.actors.supervision.incidents import Incidents
from medray.actors.supervision.watchdog import Watchdog
from medray.actors.sync import WeightSync, make_sync
from medray.actors.training.critic import CriticActor
from medray.actors.training.critic_group import CriticGroup
from medray.actors.training.learner import LearnerActor
from medray.actors.training.learner_group import LearnerGroup, merged_meters
from medray.actors.training.shared_base import SharedActor
from medray.actors.writer import NAME, RolloutWriter, WriterActor
from medray.config.ppo import PpoJob
from medray.config.resources import rl_roles
from medray.config.reward import by_role
from medray.config.rl import RlJob
from medray.errors import DeadlineExceeded, WorkerLost
from medray.observability.meters import Meters
from medray.types import Floats, GroupMeta


@dataclass
class Workers:
    """The job's actors, grouped by role."""

    job: RlJob
    learners: LearnerGroup
    rollouts: RolloutPool
    graders: RewardPool | RewardPools
    collector: Collector
    weight_sync: WeightSync
    incidents: Incidents
    writer: RolloutWriter | None = None
    critics: CriticGroup | None = None
    references: Sequence[Any] = ()
    teachers: Sequence[Any] = ()
    starting: dict[str, Ref] = field(default_factory=dict)

    def wait_ready(self) -> dict[str, Started]:
        """Wait until every model is loaded; returns what each actor said of itself.

        Rollout workers and graders that die meanwhile are replaced; the death of another ends the start.
        """
        limit = self.job.deadlines.start_s
        return gather(
            self.starting,
            deadline_s=limit,
            doing="start",
            key="deadlines.start_s",
            revive=self._revive,
        )

    @property
    def failure(self) -> RunFailure:
        """What has ended the run; whoever waits for an actor raises it."""
        return self.rollouts.failure

    def _revive(self, name: str, loss: WorkerLost) -> Ref:
        for pool in (self.rollouts, self.graders):
            if (started := pool.revive(name, loss)) is not None:
                return started
        raise loss

    def update(
        self,
        items: Sequence[TrainItem],
        metas: Sequence[GroupMeta],
        critic_items: Sequence[TrainItem] = (),
        *,
        place: int,
    ) -> Meters:
        """One optimizer step of the policy, of the critic, or of both at once, over the same groups.

        Engines that share the learner's accelerators sleep meanwhile. Whose items are empty takes no step.
        `place` says which of the run's optimizer steps this is, skipped ones included (0-based).

        Raises:
            MedrayError: an actor failed, of the learner or elsewhere; then no step is begun.
        """
        with self.failure.shared():
            if self.job.workers.colocate:
                self.rollouts.sleep()
            calls: dict[str, Ref] = {}
            if items:
                calls |= self.learners.update_calls(items, metas, place)
            if critic_items:
                assert self.critics is not None
                calls |= self.critics.fit_calls(critic_items, metas, place)
            return merged_meters(calls, self.job.deadlines, self.failure)

    def save(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Write checkpoint `step`: the critic's first, for the policy's is what a run continues from."""
        with self.failure.shared():
            if self.critics is not None:
                self.critics.save(step)
            self.learners.save(step, scalars)

    def record(self, step: int, batch: Sequence[GroupHandle], advantages: Sequence[Floats]) -> None:
        """Write the step's rollouts to the run folder while training goes on, unless `logging.rollouts` is off."""
        with self.failure.shared():
            if self.writer is not None:
                self.writer.record(step, batch, advantages)

    def finish_records(self) -> None:
        """Wait until the last rollouts are on disk."""
        with self.failure.shared():
            if self.writer is not None:
                self.writer.finish()

    def sync(self, version: int) -> float:
        """Have every engine take and prove the learner's weights; the largest gap in nats."""
        with self.failure.shared():
            self.rollouts.wake()
            return self.weight_sync(version)

    def actors(self) -> dict[str, Any]:
        """Handles of every actor that is up, by name."""
        ranks = {actor_name("learner", r): a for r, a in enumerate(self.learners.ranks)}
        if self.critics is not None:
            ranks |= {actor_name(self.critics.name, r): a for r, a in enumerate(self.critics.ranks)}
        ranks |= {actor_name("reference", i): a for i, a in enumerate(self.references)}
        ranks |= {actor_name("teacher", i): a for i, a in enumerate(self.teachers)}
        return ranks | self.rollouts.handles | self.graders.handles

    @classmethod
    @contextmanager
    def launch(cls, job: RlJob, *, checkpoint: str | None = None) -> Iterator[Workers]:
        """Start every actor without waiting for its model; they are killed when the block ends."""
        roles = rl_roles(job)
        placement = reserve(
            roles,
            spread=job.workers.placement == "spread",
            deadline_s=job.deadlines.start_s,
            colocate=job.workers.colocate,
        )
        incidents = Incidents(job.out)
        watchdog = Watchdog(incidents, job.deadlines.frozen_s)
        crew = _Crew(job, placement, watchdog)
        try:
            workers = cls._assemble(job, crew, incidents, checkpoint)
            watchdog.start()
            yield workers
        except DeadlineExceeded as error:
            raise watchdog.explain(error) from None
        finally:
            watchdog.stop()
            crew.dismiss()
            remove_placement_group(placement.group)

    @classmethod
    def _assemble(
        cls, job: RlJob, crew: _Crew, incidents: Incidents, checkpoint: str | None
    ) -> Workers:
        shared = isinstance(job, PpoJob) and job.is_shared
        failure = RunFailure()
        kind = SharedActor if shared else LearnerActor
        learners = LearnerGroup(crew.all("learner", kind), job, failure)
        critics = None
        if isinstance(job, PpoJob):
            ranks = learners.ranks if shared else crew.all("critic", CriticActor)
            name = "learner" if shared else "critic"
            critics = CriticGroup(ranks, job, name=name, failure=failure)
        references = crew.all("reference", ReferenceActor)
        teachers = crew.all("teacher", TeacherActor)
        rollouts = RolloutPool(
            lambda i: crew.one("rollout", RolloutActor, i),
            job.workers.rollout.count,
            job,
            incidents,
            failure,
        )
        graders = _graders(job, crew, learners, incidents)
        starting = _start_ranks("learner", learners.ranks, checkpoint)
        if critics is not None and not shared:
            starting |= _start_ranks("critic", critics.ranks, checkpoint)
        starting |= rollouts.start()
        for role, actors in (("reference", references), ("teacher", teachers)):
            starting |= {actor_name(role, i): a.start.remote() for i, a in enumerate(actors)}
        starting |= graders.start()
        reference: ReferenceScorer | None = None
        if job.algorithm.needs_reference:
            reference = _ReferencePool(references) if references else learners
        teacher = _TeacherPool(teachers) if teachers else None
        return cls(
            job,
            learners,
            rollouts,
            graders,
            Collector(rollouts, graders, reference, job.deadlines, critics, teacher),
            make_sync(job, learners, rollouts),
            incidents,
            RolloutWriter(crew.writer, job, incidents, failure) if job.logging.rollouts else None,
            critics,
            references,
            teachers,
            starting,
        )


def actor_name(role: str, index: int) -> str:
    """What an actor is called in messages."""
    return f"{role} rank {index}" if role in ("learner", "critic") else f"{role}-{index}"


class _Crew:
    """Starts actors in their places, again where one died, and lets all of them go."""

    def __init__(self, job: RlJob, placement: Placement, watchdog: Watchdog) -> None:
        self.job = job
        self.watchdog = watchdog
        self.options = {role: placement.options(role) for role in placement.roles}
        self.actors: list[Any] = []

    def one(self, role: str, kind: Any, index: int, *settings: Any) -> Any:
        """An actor in place `index` of its role; beyond its places, wherever the cluster has room."""
        places = self.options[role]
        options = places[index] if index < len(places) else outside(places[0])
        actor = kind.options(**options).remote(self.job, index, *settings)
        self.actors.append(actor)
        self.watchdog.add(actor_name(role, index), actor)
        return actor

    def writer(self) -> Any:
        """The actor that writes rollouts, on the driver's node, which has the run folder; it reserves nothing."""
        node = NodeAffinitySchedulingStrategy(self.watchdog.home.node, soft=True)
        actor: Any = WriterActor.options(num_cpus=0, scheduling_strategy=node).remote(self.job)
        self.actors.append(actor)
        self.watchdog.add(NAME, actor)
        return actor

    def all(self, role: str, kind: Any) -> list[Any]:
        """One actor in every place of the role; none where the job has no such role."""
        return [self.one(role, kind, i) for i in range(len(self.options.get(role, ())))]

    def dismiss(self) -> None:
        """Kill every actor that was started."""
        for actor in self.actors:
            ray.kill(actor)


def _start_ranks(name: str, ranks: Sequence[Any], checkpoint: str | None) -> dict[str, Ref]:
    address = ranks[0].rendezvous.remote()
    return {f"{name} rank {r}": a.start.remote(address, checkpoint) for r, a in enumerate(ranks)}


def _graders(
    job: RlJob, crew: _Crew, learners: LearnerGroup, incidents: Incidents
) -> RewardPool | RewardPools:
    def pool(role: str, size: int) -> RewardPool:
        def spawn(i: int) -> Any:
            return crew.one(role, RewardActor, i, role)

        return RewardPool(spawn, size, job, incidents, name=role)

    graders = pool("grader", job.workers.grader.count)
    if not by_role(job.rewards)["reward"]:
        return graders
    if isinstance(job, PpoJob) and job.is_shared:
        return RewardPools(graders, RankRewards(learners.ranks, job, incidents), job.rewards)
    return RewardPools(graders, pool("reward", job.workers.reward.count), job.rewards)


class _ReferencePool:
    def __init__(self, actors: Sequence[Any]) -> None:
        self.actors = list(actors)

    def name_of(self, index: int) -> str:
        return actor_name("reference", index % len(self.actors))

    def reference_logprobs(self, index: int, group: Ref) -> tuple[Ref, Ref]:
        kl, logprobs = (
            self.actors[index % len(self.actors)]
            .reference_logprobs.options(num_returns=2)
            .remote(group)
        )
        return kl, logprobs


class _TeacherPool:
    def __init__(self, actors: Sequence[Any]) -> None:
        self.actors = list(actors)

    def name_of(self, index: int) -> str:
        return actor_name("teacher", index % len(self.actors))

    def teach(self, index: int, group: Ref) -> tuple[Ref, Ref]:
        actor = self.actors[index % len(self.actors)]
        size, taught = actor.teach.options(num_returns=2).remote(group)
        return size, taught
