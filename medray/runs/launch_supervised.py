"""Opening and closing a supervised run: data, workers of Ray Train, sinks, summary, merged model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from medray.actors.cluster.connect import connected
from medray.actors.supervision.memory import own_peak
from medray.actors.training.ray_train import Host, run_workers
from medray.actors.training.remote_console import shown_on
from medray.config.loader import dump_config
from medray.config.supervised import SupervisedJob
from medray.learners.schedule import warmup_note
from medray.models.adapters.chain import fingerprints
from medray.models.fetching.fetch import resolve_model
from medray.observability.console.open import open_console
from medray.observability.outcome import run_summary
from medray.observability.report.page import write_report
from medray.observability.sinks import CompositeSink, LargestStep, open_sinks
from medray.observability.summary import format_summary
from medray.observability.timers import StepTimer
from medray.planning.record import record_memory
from medray.runs.plugins import build_plugins
from medray.runs.resume import require_same_inputs, require_unfinished
from medray.runs.tokenise import TrainingData, tokenise_dataset
from medray.storage.manifest import write_manifest
from medray.storage.owner import owned
from medray.storage.run_folder import checkpoints, chosen_checkpoint, forget_run, load_scalars
from medray.training.supervised import SupervisedRun, train_supervised


@dataclass(frozen=True)
class Task:
    """What every worker is given."""

    method: str
    data: TrainingData
    models: Mapping[str, str]  # fingerprint of what is loaded, by path
    began: float  # seconds since the epoch


def run_supervised(method: str, job: SupervisedJob) -> None:
    """Train by `method` from start, or from the newest checkpoint under `job.out`, to the last step; then sum up.

    Raises:
        MedrayError: named by whoever noticed.
    """
    began = time.time()
    with owned(job.out):
        _run_owned(method, job, began)


def _run_owned(method: str, job: SupervisedJob, began: float) -> None:
    from medray.learners.supervised import open_feed, rows_taken

    build_plugins(job)
    require_unfinished(job)  # a folder that holds another run must fail before anything starts
    resolve_model(job.model.path)
    with ThreadPoolExecutor(2) as beside:
        reading = beside.submit(tokenise_dataset, method, job)  # while Ray starts
        printing = beside.submit(fingerprints, [job.model.path])
        with connected():
            data, models = reading.result(), printing.result()
            scalars: dict[str, Any] = {}
            if found := checkpoints(Path(job.out)):
                require_same_inputs(job.out, data.provenance, models)
                scalars = load_scalars(found[-1])
            else:
                forget_run(Path(job.out))
            steps = open_feed(method, job, data.train, taken=rows_taken(scalars, job)).num_steps
            require_unfinished(job, steps)
            console = open_console(job.logging.console, steps)
            if note := warmup_note(job.optim, steps):
                console.note(note)
            with shown_on(console) as relay:
                run_workers(job, train_rank, Task(method, data, models, began), relay)
            console.close()
    if job.merge:
        merge_result(job)
    write_report(job.out)
    if job.logging.console != "quiet":
        print(format_summary(run_summary(job.out)))


def train_rank(job: SupervisedJob, task: Task, host: Host) -> None:
    """The whole of one worker's life: load, train, save; called again when the group is restarted."""
    from medray.learners.objectives.registry import build_objective
    from medray.learners.selection import Selection
    from medray.learners.strategies import make_strategy
    from medray.learners.supervised import SplitTrees, build_supervised
    from medray.models.checkpoints.checkpoint import save_checkpoint

    out = Path(job.out)
    found = checkpoints(out)
    newest = found[-1] if found else None
    ranks = make_strategy(job.learner, host.world_size)
    rows = SplitTrees(task.data.train, task.data.held_out)
    built = build_supervised(task.method, job, rows, ranks, newest)
    scalars: dict[str, Any] = built.scalars
    first_step = scalars.get("step", 0)

    def save(step: int, scalars: dict[str, Any], keep_steps: frozenset[int]) -> None:
        state = built.learner.state()
        state["scalars"] |= scalars
        path = save_checkpoint(
            out,
            step,
            built.learner.policy,
            state,
            keep_last=job.checkpoint.keep_last,
            keep_steps=keep_steps,
            writer=host.rank == 0,
        )
        host.report(step, path if host.rank == 0 else None)

    largest = LargestStep("data/tokens")
    with _sinks(job, host, first_step or None, largest) as sink:
        if host.rank == 0:
            _introduce(job, task, host, built.learner.policy.describe(), first_step)
        train_supervised(
            job,
            built.learner,
            SupervisedRun(
                built.feed,
                build_objective(task.method, cast(Any, job).loss),
                built.reference,
                built.evaluator,
                Selection(job.selection, scalars.get("selection")),
                sink,
                save,
                first_step,
                StepTimer(on_phase=host.console.phase if host.rank == 0 else None),
            ),
        )
    if host.rank == 0:
        longest = int(task.data.train.num_tokens.max())
        line = record_memory(
            out,
            job,
            {"learner rank 0": own_peak()},
            longest=longest,
            step_tokens=largest.num_tokens,
        )
        host.console.note(f"memory: {line}")


def merge_result(job: SupervisedJob) -> Path:
    """Write the run's adapter and its base as one model to `out`/merged, unless it is there."""
    from medray.models.adapters.merge import merge_adapter

    merged = Path(job.out) / "merged"
    checkpoint = chosen_checkpoint(Path(job.out))
    if checkpoint is not None and not merged.exists():
        merge_adapter(checkpoint, merged)
    return merged


def _sinks(
    job: SupervisedJob, host: Host, resume_step: int | None, largest: LargestStep
) -> CompositeSink:
    if host.rank != 0:
        return CompositeSink([])
    return open_sinks(
        job.out,
        job.logging,
        resume_step,
        trackers=job.logging.trackers,
        extra=[host.console, largest],
    )


def _introduce(job: SupervisedJob, task: Task, host: Host, model: str, first_step: int) -> None:
    write_manifest(
        Path(job.out),
        dump_config(job),
        seed=job.seed,
        data=task.data.provenance,
        resume_step=first_step or None,
        models=dict(task.models),
    )
    host.console.header(
        {
            "run": job.out + (f", continued from step {first_step}" if first_step else ""),
            "model": model,
            "data": task.data.summary,
            "workers": f"{host.world_size}, ready after {time.time() - task.began:.0f} s",
            "threads": f"{job.workers.learner.num_threads} per worker "
            f"(strategy {job.learner.resolved(host.world_size)})",
        }
    )
