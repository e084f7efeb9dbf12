"""GRPO and its family: sample, grade, update, sync. Which of them, config/algorithm.py says."""

from __future__ import annotations

from medray.actors.workers import Workers
from medray.config.grpo import GrpoJob
from medray.data.stream import PromptStream
from medray.drivers.batch import batch_metrics, minibatches
from medray.drivers.evaluate import Evaluator
from medray.drivers.sampling import BatchSource
from medray.drivers.signal import SignalWatch
from medray.drivers.steps import Run, due
from medray.observability.meters import Meters


def train_grpo(job: GrpoJob, workers: Workers, run: Run) -> None:
    """On-policy training without a critic; one policy version a step.

    Everything slow happens behind `workers`; this function says in which order. Continues from `run.resume`.

    Raises:
        DivergedError: a gradient is not finite; the last checkpoint is untouched.
        WeightSyncError, DeadlineExceeded, WorkerLost, GraderError: named by whoever noticed.
    """
    stream = PromptStream(run.prompts.train, job.seed, position=run.prompt_position)
    source = BatchSource(job, workers.collector, stream)
    timer, signal = run.timer, SignalWatch(job, run.console)
    evaluator = Evaluator(job, workers.collector, run.prompts.held_out)
    workers.sync(run.first_step)
    if run.first_step == 0:
        run.sink.evaluation(0, evaluator())

    timer.start_step()
    for step in range(run.first_step + 1, job.num_steps + 1):
        with timer("rollout"):
            batch = source.next_batch()
        signal.watch(step, batch.advantages)

        with timer("update"):
            meters = Meters()
            for items, metas in minibatches(batch, job.algorithm, workers.learners.old_logprobs):
                meters.merge(workers.update(items, metas))
        with timer("sync"):
            gap = workers.sync(step)
        with timer("record"):
            if job.logging.rollouts:
                workers.graders.record(step, batch.sampled, batch.sampled_advantages)
        if due(step, job.evaluation.every, job.num_steps):
            with timer("evaluate"):
                run.sink.evaluation(step, evaluator())
        metrics = meters.values() | batch_metrics(batch) | workers.incidents.drain()
        run.record(step, metrics | {"sync/max_logprob_gap": gap})
        if due(step, job.checkpoint.every, job.num_steps):
            with timer("save"):  # the next step's: a checkpoint must not be ahead of its metrics
                workers.graders.finish_records()
                workers.save(step, {"prompt_position": stream.position})
