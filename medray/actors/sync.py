"""Weight sync from the learner to the engines: one transaction, whichever transport carries the tensors.

Who waits for whom: the driver waits for all engines before sampling continues, except with `rollout.max_lag` > 0, where
each engine loads between two of its steps and the driver goes on. With the object store no engine waits for another;
with NCCL and IPC all engines receive at the same time.
"""

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
TRIES = 2  # timed syncs per form: the first includes one-time work, the second counts


class WeightSync(Protocol):
    """Updates every engine to the learner's current weights.

    After a call returns, no engine samples with weights that its probe did not verify.
    """

    def __call__(self, version: int) -> float:
        """Sync as `version`; returns the largest probe gap in nats."""
        ...


class ObjectStoreSync:
    """Sync through Ray's object store: without a process group, so a replaced engine fetches the newest version."""

    def __init__(self, learners: LearnerGroup, rollouts: RolloutPool, forms: FormChoice) -> None:
        self.learners = learners
        self.rollouts = rollouts
        self.forms = forms

    def __call__(self, version: int) -> float:
        """Publish the weights, then load them on all engines in parallel."""
        began, form = time.perf_counter(), self.forms.next()
        gap = self.rollouts.load(self.learners.publish(version, form))
        self.forms.took(form, time.perf_counter() - began)
        return gap


class FormChoice:
    """Chooses how LoRA weights are sent: as `sync.adapters` says, or in the form measured faster."""

    def __init__(self, job: RlJob) -> None:
        wanted = job.sync.adapters
        # Timing is no guide if the sync does not wait for the engines, and must not decide in deterministic runs.
        if wanted == "auto" and (job.deterministic or job.rollout.max_lag):
            wanted = "factors"
        self.adapted = job.model.lora is not None
        self.forms: tuple[Form, ...] = FORMS if wanted == "auto" else (wanted,)
        self.seconds: dict[Form, list[float]] = {form: [] for form in self.forms}

    def next(self) -> Form:
        """Form of the next sync: each form until it is timed, then the faster one."""
        for form in self.forms:
            # The first sync of a form also sends the weights that no version changes.
            if len(self.seconds[form]) < TRIES:
                return form
        return min(self.forms, key=lambda form: min(self.seconds[form][1:], default=0.0))

    def took(self, form: Form, seconds: float) -> None:
        """Record how long a sync took; log the choice once every form is timed."""
        if len(self.seconds[form]) == TRIES:
            return
        self.seconds[form].append(seconds)
        is_decided = all(len(times) == TRIES for times in self.seconds.values())
        if self.adapted and len(self.forms) > 1 and is_decided:
            times = ", ".join(f"{name} {min(s[1:]):.2f} s" for name, s in self.seconds.items())
            _logger.info("sync.adapters=auto: sending adapters as %s (%s)", self.next(), times)


class DirectSync:
    """GPU-to-GPU sync with vLLM's backends; the learner's rank 0 sends to all engines at once."""

    def __init__(self, learners: LearnerGroup, rollouts: RolloutPool) -> None:
        self.learners = learners
        self.rollouts = rollouts
        self.connected = False

    def __call__(self, version: int) -> float:
        """Open the transaction on all engines, send the weights, and verify them on every engine."""
        if not self.connected:
            self.learners.connect(list(self.rollouts.handles.values()))
            self.connected = True
        self.rollouts.begin_sync(self.learners.probe())
        return self.rollouts.end_sync(self.learners.send(version))


def make_sync(job: RlJob, learners: LearnerGroup, rollouts: RolloutPool) -> WeightSync:
    """Build the weight sync for `sync.backend`."""
    if job.sync.backend == "object_store":
        return ObjectStoreSync(learners, rollouts, FormChoice(job))
    return DirectSync(learners, rollouts)
