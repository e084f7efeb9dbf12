"""PPO: sample, grade, estimate, update, sync. Four models; what each does, docs/ALGORITHMS.md says."""

from __future__ import annotations

from medray.actors.workers import Workers
from medray.config.ppo import PpoJob
from medray.data.stream import PromptStream
from medray.drivers.batch import rollout_metrics
from medray.drivers.evaluate import Evaluator
from medray.drivers.ppo_batch import estimate_batch, ppo_metrics, update_on
from medray.drivers.sampling import PromptSource
from medray.drivers.shaping import RewardShaper
from medray.drivers.steps import Run, due
from medray.losses.kl_control import KlControl


def train_ppo(job: PpoJob, workers: Workers, run: Run) -> None:
    """On-policy training with a critic; one policy version a step.

    Everything slow happens behind `workers`; this function says in which order. Continues from `run`'s checkpoint.

    Raises:
        DivergedError: a gradient is not finite; the last checkpoint is untouched.
        WeightSyncError, DeadlineExceeded, WorkerLost, GraderError: named by whoever noticed.
    """
    stream = PromptStream(run.prompts.train, job.seed, position=run.prompt_position)
    source = PromptSource(job, workers.collector, stream)
    shaper = RewardShaper(job.algorithm.shaping, run.scalars.get("rewards"))
    kl = job.algorithm.kl
    control = KlControl(run.scalars.get("kl_coef", kl.coef), kl.target, kl.gain)
    evaluator = Evaluator(job, workers.collector, run.prompts.held_out)
    timer = run.timer
    workers.sync(run.first_step)
    if run.first_step == 0:
        run.sink.evaluation(0, evaluator())

    timer.start_step()
    for step in range(run.first_step + 1, job.num_steps + 1):
        with timer("rollout"):
            groups = source.take(job.rollout.prompts_per_step)
        with timer("estimate"):
            batch = estimate_batch(groups, shaper, control, workers)
        with timer("update"):
            meters = update_on(batch, job, workers, step)
        with timer("sync"):
            gap = workers.sync(step)
        with timer("record"):
            if job.logging.rollouts:
                workers.graders.record(step, batch.groups, batch.response_advantages)
        if due(step, job.evaluation.every, job.num_steps):
            with timer("evaluate"):
                run.sink.evaluation(step, evaluator())
        metrics = meters.values() | rollout_metrics(groups) | ppo_metrics(batch, control)
        run.record(step, metrics | workers.incidents.drain() | {"sync/max_logprob_gap": gap})
        control = control.after(batch.reference_kl)
        if due(step, job.checkpoint.every, job.num_steps):
            with timer("save"):  # the next step's: a checkpoint must not be ahead of its metrics
                workers.graders.finish_records()
                state = {"kl_coef": control.coef, "rewards": shaper.state()}
                workers.save(step, state | {"prompt_position": stream.position})
