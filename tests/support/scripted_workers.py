"""The actors of an RL job over a scripted Ray; a script says how each call goes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medray.actors.collector import Collector
from medray.actors.groups import Request
from medray.actors.ray_calls.wait import Started
from medray.actors.rollout.actor import Loaded
from medray.actors.rollout.pool import RolloutPool
from medray.actors.scoring.reward_pool import RewardPool
from medray.actors.scoring.reward_pools import RewardPools
from medray.actors.supervision.incidents import Incidents
from medray.actors.sync import make_sync
from medray.actors.training.learner_group import LearnerGroup
from medray.actors.weights.publish import PublishedWeights
from medray.actors.workers import Workers
from medray.config.rl import RlJob
from medray.errors import EnvironmentFailed, GraderError, LogprobMismatchError, MedrayError
from medray.observability.meters import Meters
from medray.types import (
    GroupMeta,
    GroupScore,
    Probe,
    Prompt,
    Record,
    Response,
    ResponseKl,
    RolloutGroup,
    WeightManifest,
)
from tests.support.scripted_ray import Actor, Ref, ScriptedRay, Stream

Fate = Literal["well", "late", "raise", "hang", "die"]
Script = Callable[[str, str, str], Fate]
"""(actor, method, prompt id or "") -> how the call goes."""


@dataclass(frozen=True)
class Fault:
    """A call that did not go well, and when."""

    at: float
    actor: str
    method: str
    about: str
    fate: Fate


@dataclass
class Plant:
    """All actors of a job, and what befell them."""

    ray: ScriptedRay
    script: Script
    late_s: float = 40.0
    rewards: Callable[[str], tuple[float, ...]] = lambda prompt_id: (1.0, 0.0)
    faults: list[Fault] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)  # when each began
    spawned: Counter[str] = field(default_factory=Counter)

    def workers(self, job: RlJob, folder: Path | None = None, *, judges: int = 0) -> Workers:
        """Everything that a job has: real pools and loops, scripted actors. `judges`: processes of a second pool."""
        incidents = Incidents(folder)
        rollouts = RolloutPool(
            lambda i: self._spawn(ScriptedRollout, f"rollout-{i}"),
            job.workers.rollout.count,
            job,
            incidents,
        )
        graders: Any = self._pool("grader", job.workers.grader.count, job, incidents)
        if judges:
            graders = RewardPools(graders, self._pool("reward", judges, job, incidents))
        learners = LearnerGroup(
            [self._spawn(ScriptedLearner, "learner rank 0")], job, rollouts.failure
        )
        reference: Any = learners if job.algorithm.kl.coef > 0 else None
        collector = Collector(rollouts, graders, reference, job.deadlines)
        sync = make_sync(job, learners, rollouts)
        workers = Workers(job, learners, rollouts, graders, collector, sync, incidents)
        workers.starting = {**rollouts.start(), **graders.start()}
        return workers

    def _pool(self, role: str, count: int, job: RlJob, incidents: Incidents) -> RewardPool:
        spawn = lambda i: self._spawn(ScriptedGrader, f"{role}-{i}")  # noqa: E731
        return RewardPool(spawn, count, job, incidents, name=role)

    def _spawn(self, kind: type[PlantActor], name: str) -> Any:
        self.spawned[name] += 1
        return kind(self.ray, name, self)

    def fate(self, actor: str, method: str, about: str = "") -> Fate:
        """Ask the script, and note what is not well."""
        fate = self.script(actor, method, about)
        if fate != "well":
            self.faults.append(Fault(self.ray.now, actor, method, about, fate))
        return fate


class PlantActor(Actor):
    """An actor whose calls go as the script says."""

    def __init__(self, ray: ScriptedRay, name: str, plant: Plant) -> None:
        super().__init__(ray, name)
        self.plant = plant

    def scripted(
        self,
        method: str,
        seconds: float,
        value: Callable[[], Any],
        *,
        about: str = "",
        error: MedrayError | None = None,
        on_begin: Callable[[], None] = lambda: None,
    ) -> Ref:
        """A call that takes `seconds` if all goes well; `error` is what it raises otherwise."""

        def begin(ref: Ref) -> float | None:
            on_begin()
            fate = self.plant.fate(self.name, method, about)
            if fate == "hang":
                return None
            if fate == "die":
                self.ray.after(seconds / 2, self.die)
                return None
            spent = seconds + (self.plant.late_s if fate == "late" else 0)
            failure = error if fate == "raise" else None
            self.ray.after(spent, lambda: self._end(ref, value, failure))
            return spent

        return self.call(begin)

    def _start(self) -> Ref:
        return self.scripted("start", 2.0, lambda: Started(self.name, 2.0))


class ScriptedGrader(PlantActor):
    """Gives rewards."""

    def _score(self, *groups: RolloutGroup | Ref) -> Ref:
        [ref] = groups
        group = ref.value if isinstance(ref, Ref) else ref
        prompt_id = group.prompt.record.id

        def begin(answer: Ref) -> float | None:
            fate = self.plant.fate(self.name, "score", prompt_id)
            if fate == "hang":
                return None
            if fate == "die":
                self.ray.after(0.1, self.die)
                return None
            spent = 0.2 + (self.plant.late_s if fate == "late" else 0)
            error = GraderError(f"reward {self.name} on prompt {prompt_id} raised OSError: gone")
            rewards = self.plant.rewards(prompt_id)[: len(group.responses)]
            given = [error if fate == "raise" else GroupScore(rewards)]
            self.ray.after(spent, lambda: self._end(answer, lambda: given, None))
            return spent

        return self.call(begin)


class ScriptedRollout(PlantActor):
    """Samples one group after another, beside the calls it gets."""

    def __init__(self, ray: ScriptedRay, name: str, plant: Plant) -> None:
        super().__init__(ray, name, plant)
        self.version = -1
        self.asked: deque[Request] = deque()
        self.is_sampling = False
        self.stream = Stream()

    def _serve(self) -> Stream:
        self.streams.append(self.stream)
        return self.stream

    def _submit(self, requests: Sequence[Request], version: int) -> Ref:
        self.asked.extend(requests)
        self._sample()
        return Ref(True)

    def _load(self, published: Ref) -> Ref:
        version = published.value.version

        def loaded() -> Loaded:
            self.version = version
            return Loaded(1e-6, tuple(ask.ticket for ask in self.asked))

        error = LogprobMismatchError(
            f"weight sync {version}: {self.name} differs from the learner by 3 nats"
        )
        return self.scripted("load", 1.0, loaded, error=error)

    def _sample(self) -> None:
        if self.is_sampling or not self.asked or self.is_dead:
            return
        self.is_sampling = True
        ask, began = self.asked.popleft(), self.version
        fate = self.plant.fate(self.name, "sample", ask.prompt.record.id)
        if fate == "hang":
            return
        if fate == "die":
            self.ray.after(0.5, self.die)
            return
        spent = 1.0 + (self.plant.late_s if fate == "late" else 0)
        self.ray.after(spent, lambda: self._hand_out(ask, began, fails=fate == "raise"))

    def _hand_out(self, ask: Request, began: int, *, fails: bool) -> None:
        if self.is_dead:
            return
        prompt_id = ask.prompt.record.id
        if fails:
            self.stream.push(None)
            text = f"environment self_check, prompt {prompt_id}: ValueError: no ({self.name})"
            self.stream.push((ask.ticket, EnvironmentFailed(text)))
        else:
            one = Response(np.zeros(3, np.int32), np.zeros(3, np.float32), "", "stop")
            count = ask.spec.num_samples
            self.stream.push(RolloutGroup(ask.prompt, (one,) * count, began))
            lengths = (3,) * count
            self.stream.push(
                (
                    ask.ticket,
                    GroupMeta(
                        prompt_id, 4, lengths, count, began, self.name, newest_version=self.version
                    ),
                )
            )
        self.is_sampling = False
        self._sample()


class ScriptedLearner(PlantActor):
    """Takes steps, publishes weights, scores references, saves."""

    def _update(self, items: Sequence[Any], totals: Any, place: int) -> Ref:
        begun = lambda: self.plant.updates.append(self.ray.now)  # noqa: E731
        return self._own("update", 3.0, Meters(), on_begin=begun)

    def _publish(self, version: int, form: str) -> Ref:
        return self._own("publish", 0.5, weights(version))

    def _save(self, step: int, scalars: Any) -> Ref:
        return self._own("save", 1.0, "")

    def _reference_logprobs(self, group: Ref) -> tuple[Ref, Ref]:
        kl = (ResponseKl(0.1, 0.05, 0.0),) * len(group.value.responses)
        return self._own("reference_logprobs", 0.3, kl), Ref(True)

    def _own(
        self, method: str, seconds: float, value: Any, on_begin: Callable[[], None] = lambda: None
    ) -> Ref:
        error = MedrayError(f"{method}: {self.name} cannot")
        return self.scripted(method, seconds, lambda: value, error=error, on_begin=on_begin)


def weights(version: int) -> PublishedWeights:
    """Weights without tensors."""
    probe = Probe(np.zeros(2, np.int32), np.zeros(1, np.float32))
    return PublishedWeights(WeightManifest(version, {}, probe), (), {})


def prompts(count: int, first: int = 0) -> tuple[Prompt, ...]:
    """Prompts p0, p1, ..."""
    ids = np.arange(4, dtype=np.int32)
    return tuple(Prompt(Record(f"p{first + i}", ()), ids) for i in range(count))
