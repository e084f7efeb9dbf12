"""The RL training loop: sample, grade, estimate, update, sync. A `Method` supplies the algorithm's part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from medray.actors.groups import GroupHandle
from medray.actors.workers import Workers
from medray.config.rl import RlJob
from medray.evaluation.held_out import Evaluator
from medray.observability.meters import Meters
from medray.training.asynchronous import open_prompts
from medray.training.curriculum import measure_pass_rates
from medray.training.sampling import SampledStep
from medray.training.steps import Run, due
from medray.types import Floats

B = TypeVar("B")
Recorded = tuple[Sequence[GroupHandle], Sequence[Floats]]
"""Groups [P] of a step and their advantages [P][G], as written to `rollouts/`."""


class Method(Protocol[B]):
    """The algorithm's part of a training step.

    The loop calls `estimate`, `update`, `recorded`, `metrics` and `end_step` once per step, in this order, and passes
    the batch along without looking into it.
    """

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
        """Return metrics of the batch and of its sampling."""
        ...

    def end_step(self, batch: B) -> None:
        """Advance the method's own state, after the step's metrics are recorded."""
        ...

    def state(self) -> Mapping[str, Any]:
        """Return JSON values to save in the checkpoint; a resumed run finds them in `run.scalars`."""
        ...


def train_rl(job: RlJob, workers: Workers, run: Run, method: Method[B]) -> None:
    """Train one policy version per step, with synchronous or asynchronous rollouts (`rollout.max_lag`).

    All computation happens in `workers`; this function only decides the order. Continues from the run's checkpoint.

    Raises:
        DivergedError: a gradient is not finite; the last checkpoint is intact.
        WeightSyncError, DeadlineExceeded, WorkerLost, GraderError: an actor failed; the message names it.
    """
    timer = run.timer
    evaluator = Evaluator(job, workers.collector, run.prompts.held_out)
    workers.sync(run.first_step)
    run.startup.mark("sync")
    if run.first_step == 0:
        run.sink.evaluation(0, evaluator())
        run.startup.mark("evaluation")

    with open_prompts(job, workers.collector, run) as prompts:
        if run.first_step == 0:
            measure_pass_rates(job, workers.collector, prompts.stream, run)
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
                # After `record`, so its time counts toward the next step: a checkpoint must never be ahead of the
                # metrics on disk, or a resumed run would have a gap.
                with timer("save"):
                    workers.finish_records()
                    run.copy_files()
                    workers.save(step, {**method.state(), **prompts.position})
