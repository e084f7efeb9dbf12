"""The lines that an RL run begins with: what runs, on what, and what settings left open came to."""

from __future__ import annotations

from collections.abc import Mapping

from medray.actors.ray_calls.wait import Started
from medray.actors.sync import FormChoice
from medray.config.resources import rl_roles
from medray.config.rl import RlJob


def rl_header(
    job: RlJob,
    started: Mapping[str, Started],
    *,
    data: str,
    start_s: float,
    resume_step: int | None = None,
) -> dict[str, str]:
    """Name -> text of each line.

    Args:
        job: with a number for each setting that was left to tuning.
        started: what each actor said, by its name.
        data: what became of the rows.
        start_s: seconds until all actors were ready.
        resume_step: of the checkpoint the run continues from.
    """
    return {
        "run": job.out
        + (f", continued from step {resume_step}" if resume_step is not None else ""),
        "model": started["learner rank 0"].text,
        "data": data,
        "actors": describe_start(job, started, start_s),
        "threads": describe_threads(job),
        "engine": describe_engine(job),
        "sync": describe_sync(job),
    }


def describe_start(job: RlJob, started: Mapping[str, Started], total_s: float) -> str:
    """How many actors of each role run, and how long starting took."""
    slowest = max(started, key=lambda name: started[name].seconds)
    counts = ", ".join(f"{role.workers.count} {role.name}" for role in rl_roles(job))
    return (
        f"{counts}; ready after {total_s:.0f} s, the slowest ({slowest}) loaded in "
        f"{started[slowest].seconds:.0f} s"
    )


def describe_threads(job: RlJob) -> str:
    """Compute threads per actor of the policy and of its engines, and what learner ranks hold."""
    workers = job.workers
    strategy = job.learner.resolved(workers.learner.count)
    return (
        f"{workers.learner.num_threads} per learner rank (strategy {strategy}), "
        f"{workers.rollout.num_threads} per rollout worker"
    )


def describe_engine(job: RlJob) -> str:
    """Settings of the rollout engines that decide their speed."""
    engine = job.rollout.engine
    return (
        f"{job.model.dtype}, KV blocks of {engine.block} tokens, up to {engine.batch:,} tokens and "
        f"{engine.max_num_seqs} sequences together"
        + ("" if engine.enforce_eager else ", CUDA graphs")
    )


def describe_sync(job: RlJob) -> str:
    """What carries the weights to the engines, and in which form those of adapters travel."""
    if job.model.lora is None or job.sync.backend != "object_store":
        return job.sync.backend
    forms = FormChoice(job).forms
    text = f"{job.sync.backend}, adapters as {' and '.join(forms)}"
    return text + " until the faster form is known" if len(forms) > 1 else text
