"""The prompts of an RL run in the order that `curriculum` asks for, and their pass rates before training."""

from __future__ import annotations

from dataclasses import replace

from medray.actors.collector import Collector
from medray.config.rl import RlJob
from medray.data.batches.curriculum import CurriculumStream
from medray.data.batches.stream import PromptStream
from medray.engines.base import prompt_seed
from medray.training.sampling import train_spec
from medray.training.steps import Run

MEASURED = 2**31
"""Positions from here on seed the responses that measure pass rates; training never gets that far."""


def open_stream(job: RlJob, run: Run) -> PromptStream:
    """Open the stream of training prompts at the run's position."""
    prompts, position = run.prompts.train, run.prompt_position
    if job.curriculum is None:
        return PromptStream(prompts, job.seed, position=position)
    in_flight = job.rollout.prompts_per_step * ((job.rollout.max_lag or 0) + 1)
    return CurriculumStream(
        prompts,
        job.seed,
        position,
        config=job.curriculum,
        apart=in_flight,
        state=run.scalars.get("curriculum"),
    )


def measure_pass_rates(job: RlJob, collector: Collector, stream: PromptStream, run: Run) -> None:
    """Sample every training prompt `curriculum.measure` times, and leave out those outside the bounds.

    Raises:
        DataError: no prompt is left.
        MedrayError: as `Collector.collect`.
    """
    if not isinstance(stream, CurriculumStream) or not stream.config.measure:
        return
    spec = replace(train_spec(job), num_samples=stream.config.measure)
    prompts, size = run.prompts.train, job.rollout.prompts_per_step
    for first in range(0, len(prompts), size):
        part = prompts[first : first + size]
        seeds = [prompt_seed(job.seed, MEASURED + first + i) for i in range(len(part))]
        groups = collector.collect(part, seeds, spec, reference=False, may_be_empty=True)
        stream.observe((group.prompt, group.score.rewards) for group in groups)
    left_out = stream.leave_out()
    rate = stream.metrics().get("curriculum/pass_rate", 0.0)
    run.console.note(
        f"pass rates of {len(prompts)} prompts measured: mean {rate:.2f}, {left_out} left out"
    )
