"""Moving the learner's weights to the engines: a transaction whatever carries the tensors."""

from __future__ import annotations

import time
from typing import Protocol

from medray.actors.rollout.pool import RolloutPool
from medray.actors.training.learner_group import LearnerGroup
from medray.actors.weights.publish import Form
from medray.config.rl import RlJob
from medray.observability.logging import get_logger

_logger = get_logger(__name__)
FORMS: tuple[Form, ...] = ("factors", "merged")
TRIES = 2  # syncs of a form: what it needs once, and how long it takes


class WeightSync(Protocol):
    """Brings every engine to the learner's present weights."""

    def __call__(self, version: int) -> float:
        """Sync as `version`; returns the largest probe gap in nats."""
        ...


class ObjectStoreSync:
    """Through Ray's object store: no process group, so a replaced engine just fetches the newest version."""

    def __init__(self, learners: LearnerGroup, rollouts: RolloutPool, forms: FormChoice) -> None:
        self.learners = learners
        self.rollouts = rollouts
        self.forms = forms

    def __call__(self, version: int) -> float:
        """Publish, then have all engines load in parallel."""
        began, form = time.perf_counter(), self.forms.next()
        gap = self.rollouts.load(self.learners.publish(version, form))
        self.forms.took(form, time.perf_counter() - began)
        return gap


class FormChoice:
    """How adapted weights travel: in the form that is asked for, or the one that takes less time."""

    def __init__(self, job: RlJob) -> None:
        wanted = job.sync.adapters
        # Where a sync does not wait for the engines, or must be repeatable, nothing is to be learnt from its time.
        if wanted == "auto" and (job.deterministic or job.rollout.max_lag):
            wanted = "factors"
        self.adapted = job.model.lora is not None
        self.forms: tuple[Form, ...] = FORMS if wanted == "auto" else (wanted,)
        self.seconds: dict[Form, list[float]] = {form: [] for form in self.forms}

    def next(self) -> Form:
        """The form of the next sync: each of them until it was timed, then the faster."""
        for form in self.forms:
            # The first of a form brings what later ones need not.
            if len(self.seconds[form]) < TRIES:
                return form
        return min(self.forms, key=lambda form: min(self.seconds[form][1:], default=0.0))

    def took(self, form: Form, seconds: float) -> None:
        """Note how long a sync took; once every form was timed, log which one is kept."""
        if len(self.seconds[form]) == TRIES:
            return
        self.seconds[form].append(seconds)
        is_decided = all(len(times) == TRIES for times in self.seconds.values())
        if self.adapted and len(self.forms) > 1 and is_decided:
            times = ", ".join(f"{name} {min(s[1:]):.2f} s" for name, s in self.seconds.items())
            _logger.info("sync.adapters=auto: adapters travel as %s (%s)", self.next(), times)


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
        return ObjectStoreSync(learners, rollouts, FormChoice(job))
    return DirectSync(learners, rollouts)
