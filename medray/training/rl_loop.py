"""The RL loop: sample, grade, estimate, update, sync. What an algorithm adds to it is a `Method`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from medray.actors.groups import GroupHandle
from medray.actors.workers import Workers
from medray.config.rl import RlJob
from medray.evaluation.held_out import Evaluator
from medray.observability.meters import Meters
from medray.training.asynchronous import open_prompts
from medray.training.sampling import SampledStep
from medray.training.steps import Run, due
from medray.types import Floats

B = TypeVar("B")
Recorded = tuple[Sequence[GroupHandle], Sequence[Floats]]
"""Groups of a step and an advantage per response, [P] and [P][G]: what is written to `rollouts/`."""


class Method(Protocol[B]):
    """An algorithm's side of a step. Its batch is its own affair; the loop hands it from one call to the next."""

    def estimate(self, step: int, sampled: SampledStep) -> B:
        """Turn scored groups into a batch: shaped rewards, advantages, returns."""
        ...

    def update(self, step: int, batch: B) -> Meters:
        """Take the optimizer steps of a batch."""
        ...

    def recorded(self, batch: B) -> Recorded:
        """Return what is written of the batch to the run folder."""
        ...

    def metrics(self, batch: B) -> dict[str, float]:
        """Return figures of the batch and of what was sampled for it."""
        ...

    def end_step(self, batch: B) -> None:
        """Move the method's own state on, once the step's figures are recorded."""
        ...

    def state(self) -> Mapping[str, Any]:
        """Return JSON values that a checkpoint keeps; they come back in `run.scalars`."""
        ...


def train_rl(job: RlJob, workers: Workers, run: Run, method: Method[B]) -> None:
    """Train with one policy version per step, sampled synchronously or ahead (`rollout.max_lag`).

    Everything slow happens behind `workers`; this function says in which order. Continues from `run`'s checkpoint.

    Raises:
        DivergedError: a gradient is not finite; the last checkpoint is untouched.
        WeightSyncError, DeadlineExceeded, WorkerLost, GraderError: name the actor.
    """
    timer = run.timer
    evaluator = Evaluator(job, workers.collector, run.prompts.held_out)
    workers.sync(run.first_step)
    run.startup.mark("sync")
    if run.first_step == 0:
        run.sink.evaluation(0, evaluator())
        run.startup.mark("evaluation")

    with open_prompts(job, workers.collector, run) as prompts:
        prompts.on_new_weights(run.first_step)
        timer.start_step()
        for step in range(run.first_step + 1, job.num_steps + 1):
            with timer("rollout"):
                sampled = prompts.next_groups()
            with timer("estimate"):
                batch = method.estimate(step, sampled)
            with timer("update"):
                meters = method.update(step, batch)
            with timer("sync"):
                gap = workers.sync(step)
                prompts.on_new_weights(step)
            with timer("record"):
                workers.record(step, *method.recorded(batch))
            if due(step, job.evaluation.every, job.num_steps):
                with timer("evaluate"):
                    run.sink.evaluation(step, evaluator())
            metrics = meters.values() | method.metrics(batch) | workers.incidents.drain()
            run.record(step, metrics | {"sync/max_logprob_gap": gap})
            method.end_step(batch)
            if due(step, job.checkpoint.every, job.num_steps):
                # Timed with the next step: a checkpoint must not be ahead of its metrics.
                with timer("save"):
                    workers.finish_records()
                    run.copy_files()
                    workers.save(step, {**method.state(), **prompts.position})
