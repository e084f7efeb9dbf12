"""PT, SFT, RM, DPO, ORPO and KTO: read the step's rows, update, look at held-out rows, keep the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from medray.config.supervised import SupervisedJob
from medray.data.batches.feed import Feed
from medray.learners.held_out.evaluator import HeldOutEvaluator
from medray.learners.learner import Learner
from medray.learners.objectives.base import Objective
from medray.learners.reference import Reference
from medray.learners.selection import Selection
from medray.observability.meters import Meters
from medray.observability.sinks import MetricSink
from medray.observability.timers import StepTimer
from medray.training.steps import due

Save = Callable[[int, dict[str, Any], frozenset[int]], None]
"""(step, scalars, steps whose checkpoints are kept) -> nothing; every rank calls it."""


@dataclass
class SupervisedRun:
    """One rank's view of a run in progress."""

    feed: Feed
    objective: Objective
    reference: Reference
    evaluator: HeldOutEvaluator
    selection: Selection
    sink: MetricSink
    save: Save
    first_step: int = 0  # step of the checkpoint the run continues from; 0 on a fresh run
    timer: StepTimer = field(default_factory=StepTimer)


def train_supervised(job: SupervisedJob, learner: Learner, run: SupervisedRun) -> None:
    """Train to the last step, or until the held-out metric has stopped improving; every rank calls it.

    Raises:
        DivergedError: a gradient is not finite; the last checkpoint is untouched.
    """
    feed, timer, selection, ranks = run.feed, run.timer, run.selection, learner.strategy
    evaluates = job.evaluation.num_rows > 0 and run.evaluator.num_rows > 0
    if run.first_step == 0 and evaluates:
        run.sink.evaluation(0, run.evaluator(learner, run.objective))

    timer.start_step()
    for step in range(run.first_step + 1, feed.num_steps + 1):
        with timer("data"):
            trees = feed.step(step, ranks.rank, ranks.world_size)
        with timer("reference"):
            trees = run.reference(trees)
        with timer("update"):
            meters = Meters.merged(ranks.gather(learner.train_step(trees, run.objective)))
            meters.sum("data/tokens", float(feed.num_tokens(step)))

        improved = False
        if evaluates and due(step, job.evaluation.every, feed.num_steps):
            with timer("evaluate"):
                held_out = run.evaluator(learner, run.objective)
            improved = selection.watch(step, held_out)
            run.sink.evaluation(step, held_out)
        is_last = step == feed.num_steps or selection.is_exhausted
        seconds = timer.seconds()
        metrics = meters.values() | seconds | {"data/epoch": feed.epoch(step)}
        metrics["data/tokens_per_s"] = metrics["data/tokens"] / seconds["time/update_s"]
        run.sink.record(step, metrics)

        timer.start_step()
        if is_last or step % job.checkpoint.every == 0 or (improved and job.selection.keep_best):
            with timer("save"):  # the next step's: a checkpoint must not be ahead of its metrics
                kept = {selection.best_step} if job.selection.keep_best else set[int | None]()
                scalars = {"done": is_last, "selection": selection.state()}
                scalars["rows"] = feed.rows_after(step)
                run.save(step, scalars, frozenset(s for s in kept if s is not None))
        if is_last:
            return
