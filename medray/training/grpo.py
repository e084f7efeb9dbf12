"""GRPO and its family: sample, grade, update, sync. Which of them, `algorithm.kind` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medray.actors.workers import Workers
from medray.config.grpo import GrpoJob
from medray.observability.meters import Meters
from medray.training.batch import Batch, batch_metrics, minibatches
from medray.training.no_signal_monitor import NoSignalMonitor
from medray.training.rl_loop import Recorded, train_rl
from medray.training.sampling import SampledStep, estimate_batch
from medray.training.steps import Run


def train_grpo(job: GrpoJob, workers: Workers, run: Run) -> None:
    """Train without a critic.

    Raises:
        MedrayError: as `train_rl`.
    """
    train_rl(job, workers, run, Grpo(job, workers, run))


class Grpo:
    """The `Method` of every algorithm without a critic."""

    def __init__(self, job: GrpoJob, workers: Workers, run: Run) -> None:
        self.job = job
        self.workers = workers
        self.monitor = NoSignalMonitor(job, run.console)

    def estimate(self, step: int, sampled: SampledStep) -> Batch:
        """Compute advantages on the driver: one float per response."""
        batch = estimate_batch(self.job, sampled, self.workers.collector)
        self.monitor.watch(step, batch.advantages)
        return batch

    def update(self, step: int, batch: Batch) -> Meters:
        """Take one optimizer step per minibatch that has something to learn."""
        meters = Meters()
        score_old = self.workers.learners.old_logprobs
        before = (step - 1) * self.job.optim_steps_per_batch
        for part in minibatches(batch, self.job.algorithm, score_old):
            found = self.workers.update(part.items, part.metas, place=before + part.number)
            meters.merge(found)
        return meters

    def recorded(self, batch: Batch) -> Recorded:
        """Return every sampled group, those that were replaced included."""
        return batch.sampled, batch.sampled_advantages

    def metrics(self, batch: Batch) -> dict[str, float]:
        """Return figures of the batch."""
        return batch_metrics(batch)

    def end_step(self, batch: Batch) -> None:
        """Keep nothing from step to step."""

    def state(self) -> Mapping[str, Any]:
        """Return nothing: the loop's own position is all there is."""
        return {}
