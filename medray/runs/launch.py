"""Opening and closing an RL run: checkpoint to continue from, data, actors, sinks, summary."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from medray.actors.cluster.connect import connected, submitted_at
from medray.actors.supervision.incidents import Incidents
from medray.actors.supervision.memory import peak_memory
from medray.actors.workers import Workers
from medray.config.loader import dump_config
from medray.config.ppo import PpoJob
from medray.config.rl import RlJob
from medray.data.loading.load import Dataset, load_dataset
from medray.data.rendering.chat import ChatRenderer
from medray.data.rendering.prompts import render_prompts
from medray.errors import DataError, RestartBudgetExhausted, WorkerLost
from medray.learners.schedule import warmup_note
from medray.models.adapters.chain import fingerprints
from medray.models.fetching.fetch import resolve_model
from medray.observability.console.base import Console
from medray.observability.console.open import open_console
from medray.observability.outcome import run_summary
from medray.observability.report.page import write_report
from medray.observability.sinks import LargestStep, open_sinks
from medray.observability.startup import Startup
from medray.observability.summary import format_summary
from medray.observability.timers import StepTimer
from medray.planning.record import record_memory
from medray.planning.tuned import settled
from medray.runs.header import rl_header
from medray.runs.plugins import build_plugins
from medray.runs.resume import Resume, find_resume, require_same_inputs
from medray.storage.manifest import write_manifest
from medray.storage.mirror import mirror_of
from medray.storage.owner import owned
from medray.storage.rollout_files import drop_rollouts_after
from medray.storage.run_folder import forget_run
from medray.training.steps import PromptSets, Run

DATA_FIRST_S = 1.0
"""How long the start of Ray waits for the data, so that a mistake in it costs no start."""

J = TypeVar("J", bound=RlJob)
Loop = Callable[[J, Workers, Run], None]
"""A method's training loop, from training/."""


def run_rl(job: J, train: Loop[J]) -> None:
    """Train from start, or from the newest checkpoint under `job.out`, to the last step; then sum up.

    Args:
        job: what is trained, and how.
        train: the method's loop.
    """
    startup = Startup()
    startup.mark("driver")
    job, tuning = settled(job)
    with owned(job.out):
        _run_owned(job, train, startup, tuning)


def _run_owned(job: J, train: Loop[J], startup: Startup, tuning: str | None) -> None:
    if mirror := mirror_of(job):
        mirror.fetch_run()
    # A folder that holds another run must fail before anything starts.
    is_fresh = find_resume(job) is None
    build_plugins(job, reward_models=True)
    for path in model_paths(job):
        resolve_model(path)
    console = open_console(job.logging.console, job.num_steps)
    for note in (tuning, warmup_note(job.optim, job.num_optim_steps - job.first_policy_step)):
        if note:
            console.note(note)
    with ThreadPoolExecutor(2) as beside:
        loading = beside.submit(load_dataset, job.data)  # while Ray starts
        printing = beside.submit(fingerprints, model_paths(job))
        if wait([loading], timeout=DATA_FIRST_S).done:
            loading.result()  # raises what is wrong with a small file before Ray starts
        with connected():
            startup.mark("ray")
            dataset, models = loading.result(), printing.result()
            if is_fresh:
                forget_run(Path(job.out))
            else:
                require_same_inputs(job.out, dataset.report.provenance(), models)
            _train_to_the_end(job, train, dataset, models, console, startup)
    write_report(job.out)
    if mirror:
        mirror.push_run_files()
    if job.logging.console != "quiet":
        print(format_summary(run_summary(job.out)))


def _train_to_the_end(
    job: J,
    train: Loop[J],
    dataset: Dataset,
    models: Mapping[str, str],
    console: Console,
    startup: Startup,
) -> None:
    """Train; where an actor is lost for good (a learner rank), start again from the newest checkpoint."""
    for restarts_left in reversed(range(job.workers.max_restarts + 1)):
        resume = find_resume(job)
        try:
            return _train(job, train, resume, dataset, models, console, startup)
        except RestartBudgetExhausted:
            raise
        except WorkerLost as loss:
            if not restarts_left:
                raise
            Incidents(job.out).add("death", "learner", str(loss), "steps since the last checkpoint")
            console.note(f"{loss}; restarting from the last checkpoint")


def _train(
    job: J,
    train: Loop[J],
    resume: Resume | None,
    dataset: Dataset,
    models: Mapping[str, str],
    console: Console,
    startup: Startup,
) -> None:
    resume_step = resume.step if resume else None
    largest = LargestStep("rollout/prompt_tokens", "rollout/tokens")
    with (
        Workers.launch(job, checkpoint=str(resume.checkpoint) if resume else None) as workers,
        open_sinks(
            job.out,
            job.logging,
            resume_step,
            trackers=job.logging.trackers,
            extra=[console, largest],
        ) as sink,
    ):
        prompts = prepare_prompts(job, dataset)
        write_manifest(
            Path(job.out),
            dump_config(job),
            seed=job.seed,
            data=prompts.provenance,
            resume_step=resume_step,
            models=dict(models),
        )
        run = Run(
            prompts, sink, console, timer=StepTimer(on_phase=console.phase),
            startup=startup, out=job.out, mirror=mirror_of(job),
        )  # fmt: skip
        if resume:
            drop_rollouts_after(job.out, resume.step)
            run.first_step, run.prompt_position = resume.step, resume.prompt_position
            run.prompts_ahead, run.scalars = resume.prompts_ahead, resume.scalars
        run.startup.submitted(submitted_at())  # while the actors load
        started = workers.wait_ready()
        startup.mark("actors")
        startup.note_actors({name: actor.seconds for name, actor in started.items()})
        console.header(
            rl_header(
                job, started, data=prompts.summary, start_s=startup.total_s, resume_step=resume_step
            )
        )
        train(job, workers, run)
        workers.finish_records()
        longest = max(len(prompt.token_ids) for prompt in run.prompts.train)
        measured = peak_memory(workers.actors())
        line = record_memory(
            job.out, job, measured, longest=longest, step_tokens=largest.num_tokens
        )
        console.note(f"memory: {line}")


def model_paths(job: RlJob) -> set[str]:
    """Every model that an actor of the job will load."""
    paths = {job.model.path}
    if isinstance(job, PpoJob):
        paths.add(job.critic_model.path)
    if job.algorithm.distill is not None:
        paths.add(job.algorithm.distill.teacher.path)
    return paths


def prepare_prompts(job: RlJob, dataset: Dataset) -> PromptSets:
    """Render both sides of the split with the model's chat template, and account for every row.

    Raises:
        DataError: fewer prompts fit `data.max_prompt_tokens` than a step takes.
    """
    from medray.models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(job.model)
    render = functools.partial(
        render_prompts,
        tokenizer=tokenizer,
        max_prompt_tokens=job.data.max_prompt_tokens,
        system=job.data.system,
        skip_refused=job.data.on_bad_row == "skip",
        variables=job.chat.variables,
    )
    train, held_out = render(dataset.train), render(dataset.held_out)
    wanted = job.rollout.prompts_per_step
    if len(train.prompts) < wanted:
        skipped = f" ({train.skipped()})" if train.skipped_ids() else ""
        raise DataError(
            f"only {len(train.prompts)} training prompts for rollout.prompts_per_step={wanted}{skipped}"
        )
    sides = {"to train on": train, "held out": held_out}
    counts = [f"{len(side.prompts)} prompts {name}" for name, side in sides.items()]
    skipped = [f"{name}: {text}" for name, side in sides.items() if (text := side.skipped())]
    provenance = dataset.report.provenance() | {
        "train": len(train.prompts),
        "held_out": len(held_out.prompts),
        "skipped": {
            f"{name}, {reason}": len(ids)
            for name, side in sides.items()
            for reason, ids in side.skipped_ids().items()
        },
    }
    notes: list[str] = []
    if (
        job.rollout.environment
        and ChatRenderer(tokenizer, job.chat.variables).drops_earlier_thoughts
    ):
        notes.append(
            "earlier thoughts stay in the context of a dialogue; the template drops them when the model is served "
            "(to turn thinking off: chat.variables)"
        )
    summary = "; ".join([dataset.report.summary(), ", ".join(counts), *skipped, *notes])
    return PromptSets(train.prompts, held_out.prompts, summary, provenance)
