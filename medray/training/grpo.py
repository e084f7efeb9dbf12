"""GRPO and its family: sample, grade, update, sync. Which of them, config/algorithm.py says."""

from __future__ import annotations

from medray.actors.workers import Workers
from medray.config.grpo import GrpoJob
from medray.evaluation.held_out import Evaluator
from medray.observability.meters import Meters
from medray.training.asynchronous import open_source
from medray.training.batch import batch_metrics, minibatches
from medray.training.no_signal_monitor import NoSignalMonitor
from medray.training.sampling import BatchSource
from medray.training.steps import Run, due


def train_grpo(job: GrpoJob, workers: Workers, run: Run) -> None:
    """Training without a critic; one policy version a step, sampled in turn or ahead (`rollout.max_lag`).

    Everything slow happens behind `workers`; this function says in which order. Continues from `run`'s checkpoint.

    Raises:
        DivergedError: a gradient is not finite; the last checkpoint is untouched.
        WeightSyncError, DeadlineExceeded, WorkerLost, GraderError: named by whoever noticed.
    """
    timer, signal = run.timer, NoSignalMonitor(job, run.console)
    evaluator = Evaluator(job, workers.collector, run.prompts.held_out)
    workers.sync(run.first_step)
    run.startup.mark("sync")
    if run.first_step == 0:
        run.sink.evaluation(0, evaluator())
        run.startup.mark("evaluation")

    with open_source(job, workers.collector, run) as prompts:
        source = BatchSource(job, prompts)
        prompts.on_new_weights(run.first_step)
        timer.start_step()
        for step in range(run.first_step + 1, job.num_steps + 1):
            with timer("rollout"):
                batch = source.next_batch()
            signal.watch(step, batch.advantages)

            with timer("update"):
                meters = Meters()
                for items, metas in minibatches(
                    batch, job.algorithm, workers.learners.old_logprobs
                ):
                    meters.merge(workers.update(items, metas))
            with timer("sync"):
                gap = workers.sync(step)
                prompts.on_new_weights(step)
            with timer("record"):
                if job.logging.rollouts:
                    workers.graders.record(step, batch.sampled, batch.sampled_advantages)
            if due(step, job.evaluation.every, job.num_steps):
                with timer("evaluate"):
                    run.sink.evaluation(step, evaluator())
            metrics = meters.values() | batch_metrics(batch) | workers.incidents.drain()
            run.record(step, metrics | {"sync/max_logprob_gap": gap})
            if due(step, job.checkpoint.every, job.num_steps):
                # The next step's: a checkpoint must not be ahead of its metrics.
                with timer("save"):
                    workers.graders.finish_records()
                    run.copy_files()
                    workers.save(step, prompts.position)
