"""Moving the learner's weights to the engines: a transaction whatever carries the tensors."""

from __future__ import annotations

from typing import Protocol

from medray.actors.learners import LearnerGroup
from medray.actors.rollouts import RolloutPool
from medray.config.rl import RlJob


class WeightSync(Protocol):
    """Brings every engine to the learner's present weights."""

    def __call__(self, version: int) -> float:
        """Sync as `version`; returns the largest probe gap in nats."""
        ...


class ObjectStoreSync:
    """Through Ray's object store: no process group, so a replaced engine just fetches the newest version."""

    def __init__(self, learners: LearnerGroup, rollouts: RolloutPool) -> None:
        self.learners = learners
        self.rollouts = rollouts

    def __call__(self, version: int) -> float:
        """Publish, then have all engines load in parallel."""
        return self.rollouts.load(self.learners.publish(version))


class DirectSync:
    """GPU to GPU through vLLM's own backends; the learner's rank 0 sends to all engines at once."""

    def __init__(self, learners: LearnerGroup, rollouts: RolloutPool) -> None:
        self.learners = learners
        self.rollouts = rollouts
        self.connected = False

    def __call__(self, version: int) -> float:
        """Open the transaction on all engines, send, and have each prove what it holds."""
        if not self.connected:
            self.learners.connect(list(self.rollouts.workers.values()))
            self.connected = True
        self.rollouts.begin_sync(self.learners.probe())
        return self.rollouts.end_sync(self.learners.send(version))


def make_sync(job: RlJob, learners: LearnerGroup, rollouts: RolloutPool) -> WeightSync:
    """The sync that `sync.backend` names."""
    if job.sync.backend == "object_store":
        return ObjectStoreSync(learners, rollouts)
    return DirectSync(learners, rollouts)
