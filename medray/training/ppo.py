"""PPO: sample, grade, estimate, update, sync. Four models; what each does, docs/ALGORITHMS.md says."""

from __future__ import annotations

from medray.actors.workers import Workers
from medray.config.ppo import PpoJob
from medray.evaluation.held_out import Evaluator
from medray.losses.kl_control import KlControl
from medray.training.asynchronous import open_source
from medray.training.batch import rollout_metrics
from medray.training.ppo_batch import estimate_batch, ppo_metrics, update_on
from medray.training.shaping import RewardShaper
from medray.training.steps import Run, due


def train_ppo(job: PpoJob, workers: Workers, run: Run) -> None:
    """Training with a critic; one policy version a step, sampled in turn or ahead (`rollout.max_lag`).

    Everything slow happens behind `workers`; this function says in which order. Continues from `run`'s checkpoint.

    Raises:
        DivergedError: a gradient is not finite; the last checkpoint is untouched.
        WeightSyncError, DeadlineExceeded, WorkerLost, GraderError: named by whoever noticed.
    """
    shaper = RewardShaper(job.algorithm.shaping, run.scalars.get("rewards"))
    kl, timer = job.algorithm.kl, run.timer
    control = KlControl(run.scalars.get("kl_coef", kl.coef), kl.target, kl.gain)
    evaluator = Evaluator(job, workers.collector, run.prompts.held_out)
    workers.sync(run.first_step)
    run.startup.mark("sync")
    if run.first_step == 0:
        run.sink.evaluation(0, evaluator())
        run.startup.mark("evaluation")

    with open_source(job, workers.collector, run) as prompts:
        prompts.on_new_weights(run.first_step)
        timer.start_step()
        for step in range(run.first_step + 1, job.num_steps + 1):
            with timer("rollout"):
                sampled = prompts.next_groups()
            with timer("estimate"):
                batch = estimate_batch(sampled.groups, shaper, control, workers)
            with timer("update"):
                meters = update_on(batch, job, workers, step)
            with timer("sync"):
                gap = workers.sync(step)
                prompts.on_new_weights(step)
            with timer("record"):
                if job.logging.rollouts:
                    workers.graders.record(step, batch.groups, batch.response_advantages)
            if due(step, job.evaluation.every, job.num_steps):
                with timer("evaluate"):
                    run.sink.evaluation(step, evaluator())
            metrics = meters.values() | ppo_metrics(batch, control)
            metrics |= rollout_metrics(batch.groups) | sampled.counts | workers.incidents.drain()
            run.record(step, metrics | {"sync/max_logprob_gap": gap})
            control = control.after(batch.reference_kl)
            if due(step, job.checkpoint.every, job.num_steps):
                # The next step's: a checkpoint must not be ahead of its metrics.
                with timer("save"):
                    workers.graders.finish_records()
                    run.copy_files()
                    state = {"kl_coef": control.coef, "rewards": shaper.state()}
                    workers.save(step, state | dict(prompts.position))
