"""RL runs that draw their prompts by pass rate: measured before training, and resumed exactly."""

from __future__ import annotations

import io
import json
from typing import Any, cast

import numpy as np
import pytest

from medray.actors.workers import Workers
from medray.config.grpo import GrpoJob
from medray.observability.console.plain import PlainConsole
from medray.training.grpo import train_grpo
from medray.training.steps import PromptSets, Run
from medray.types import Prompt, Record
from tests.support.fake_workers import FakeWorkers, ListSink


class Kept(FakeWorkers):
    """Keeps what checkpoints hold."""

    saved: dict[int, str]

    def save(self, step: int, scalars: dict[str, Any]) -> str:
        self.__dict__.setdefault("saved", {})[step] = json.dumps(scalars)
        return ""


def _job(num_steps: int, **curriculum: Any) -> GrpoJob:
    return GrpoJob.model_validate(
        {
            "num_steps": num_steps,
            "rollout": {"prompts_per_step": 4, "samples_per_prompt": 4, "max_new_tokens": 4},
            "evaluation": {"num_items": 0},
            "checkpoint": {"every": 1},
            "curriculum": curriculum,
        }
    )


def _by_number(call: int, prompt: Prompt) -> tuple[float, ...]:
    """Prompt 0 never passes, prompt 4 always does, those between sometimes."""
    passing = int(prompt.record.id) % 5
    return (1.0,) * passing + (0.0,) * (4 - passing)


def _train(job: GrpoJob, workers: Kept, **run: Any) -> tuple[ListSink, str]:
    prompts = tuple(Prompt(Record(str(i), ()), np.arange(5, dtype=np.int32)) for i in range(20))
    sink, text = ListSink(), io.StringIO()
    console = PlainConsole(job.num_steps, text)
    train_grpo(job, cast(Workers, workers), Run(PromptSets(prompts, ()), sink, console, **run))
    return sink, text.getvalue()


@pytest.mark.parametrize("measure", [0, 4])
def test_a_resumed_run_draws_the_prompts_of_an_undisturbed_one(measure: int) -> None:
    keys = {"replay": 0.25, "measure": measure}
    whole = Kept(_by_number)
    _train(_job(6, **keys), whole)
    first = Kept(_by_number)
    _train(_job(3, **keys), first)
    assert first.saved[3] == whole.saved[3]
    scalars = json.loads(first.saved[3])
    rest = Kept(_by_number)
    position = scalars["prompt_position"]
    _train(_job(6, **keys), rest, first_step=3, prompt_position=position, scalars=scalars)
    assert first.seen + rest.seen == whole.seen
    assert first.seeds + rest.seeds == whole.seeds
    assert rest.saved[6] == whole.saved[6]


def test_prompts_outside_the_measured_bounds_are_not_trained_on() -> None:
    workers = Kept(_by_number)
    sink, text = _train(_job(8, measure=4, low=0.1, high=0.9), workers)
    assert {int(i) % 5 for i in workers.seen} == {1, 2, 3}
    assert "pass rates of 20 prompts measured: mean 0.50, 8 left out" in text
    assert workers.log.count("evaluate v0") == 5, (
        "20 prompts, four at a time, before the first step"
    )
    assert workers.log.index("evaluate v0") < workers.log.index("rollout v0")
    assert sink.steps[1]["curriculum/pass_rate"] == pytest.approx(0.5)


def test_prompts_with_a_signal_are_drawn_more_often() -> None:
    workers = Kept(_by_number)
    sink, _ = _train(_job(40, momentum=0.0), workers)
    drawn = [int(i) % 5 for i in workers.seen[40:]]
    assert np.mean([kind in (0, 4) for kind in drawn]) < 0.15, "two fifths of the prompts have none"
    assert sink.steps[40]["curriculum/seen_share"] == 1


def test_without_a_curriculum_nothing_is_saved_of_it() -> None:
    workers = Kept(_by_number)
    job = _job(1).model_copy(update={"curriculum": None})
    sink, _ = _train(job, workers)
    assert json.loads(workers.saved[1]) == {"prompt_position": 4}
    assert not [name for name in sink.steps[1] if name.startswith("curriculum")]
