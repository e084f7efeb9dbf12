"""Sampling ahead: what is trained on, in which order, how old, and what a checkpoint must remember."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, cast

import numpy as np
import pytest

from medray.actors.collector import Collector
from medray.config.grpo import GrpoJob
from medray.data.batches.stream import PromptStream
from medray.errors import GraderError, WorkerLost
from medray.training.asynchronous import AsynchronousSource
from medray.training.batch import Batch
from medray.training.sampling import PromptSource
from medray.types import Prompt, Record
from tests.support.batches import BatchSource
from tests.support.fake_collector import FakeCollector, Script

PROMPTS = tuple(Prompt(Record(f"t{i}", ()), np.arange(5, dtype=np.int32)) for i in range(100))


def _job(max_lag: int | None, *, num_steps: int = 8, **changes: Any) -> GrpoJob:
    base: dict[str, Any] = {"num_steps": num_steps}
    rollout = {"prompts_per_step": 4, "samples_per_prompt": 2, "max_lag": max_lag}
    return GrpoJob.model_validate(base | {"rollout": rollout} | changes)


def _split(prompt: Prompt, seed: int) -> tuple[float, ...]:
    return (1.0, 0.0)


def _run(
    job: GrpoJob, collector: FakeCollector, *, first_step: int = 0, position: int = 0, ahead: tuple[int, ...] = (),
    until: int | None = None,
) -> tuple[list[Batch], dict[str, Any]]:  # fmt: skip
    stream = PromptStream(PROMPTS, job.seed, position=position)
    source = AsynchronousSource(
        job, cast(Collector, collector), stream, first_step=first_step, ahead=ahead
    )
    batches, made = [], BatchSource(job, source)
    collector.version = first_step
    with source:
        source.on_new_weights(first_step)
        for step in range(first_step + 1, (until or job.num_steps) + 1):
            batches.append(made.next_batch())
            collector.version = step
            source.on_new_weights(step)
        return batches, dict(source.position)


def _ids(batches: list[Batch]) -> list[str]:
    return [s.meta.prompt_id for batch in batches for s in batch.sampled]


def _stream(count: int, seed: int = 17) -> list[str]:
    return [p.record.id for p in PromptStream(PROMPTS, seed).take(count)]


@pytest.mark.parametrize("max_lag", [0, 1, 3])
def test_every_prompt_is_trained_on_once_and_none_is_too_old(max_lag: int) -> None:
    for seed in range(5):
        collector = FakeCollector(_split, order=random.Random(seed))
        batches, position = _run(_job(max_lag), collector)
        assert Counter(_ids(batches)) == Counter(_stream(32)), "exactly what the run needs, once"
        assert sum(collector.seen.values()) == 32, "nothing is sampled in vain"
        lags = [batch.counts["async/lag_max"] for batch in batches]
        assert max(lags) <= max_lag
        if max_lag:
            assert max(lags) > 0, "generation ran ahead"
        assert position == {"prompt_position": 32, "prompts_ahead": []}


@pytest.mark.parametrize(
    "algorithm",
    [
        {},
        {"kind": "remax"},
        {"dynamic_sampling": {"max_rounds": 8}},
        {"dynamic_sampling": {"max_rounds": 2}},
    ],
)
def test_at_lag_zero_the_batches_are_those_of_taking_turns(algorithm: dict[str, Any]) -> None:
    def script(prompt: Prompt, seed: int) -> tuple[float, ...]:
        return (1.0, 1.0) if int(prompt.record.id[1:]) % 3 else (1.0, seed % 7 / 7)

    in_turn = _job(None, algorithm=algorithm)
    stream = PromptStream(PROMPTS, in_turn.seed)
    in_turns = PromptSource(in_turn, cast(Collector, FakeCollector(script)), stream)
    source = BatchSource(in_turn, in_turns)
    expected = [source.next_batch() for _ in range(8)]
    got, position = _run(_job(0, algorithm=algorithm), FakeCollector(script, random.Random(3)))
    assert position["prompt_position"] == stream.position
    for a, b in zip(expected, got, strict=True):
        assert [s.tokens for s in a.groups] == [s.tokens for s in b.groups]
        assert [s.tokens for s in a.dropped] == [s.tokens for s in b.dropped]
        np.testing.assert_array_equal(a.advantages, b.advantages)
        assert a.counts.items() <= b.counts.items()


@pytest.mark.parametrize("max_lag", [0, 2])
def test_a_resumed_run_trains_on_what_the_first_one_did_not(max_lag: int) -> None:
    ahead = 0
    for seed in range(6):
        first, position = _run(_job(max_lag), FakeCollector(_split, random.Random(seed)), until=2)
        rest, _ = _run(
            _job(max_lag), FakeCollector(_split, random.Random(-seed)), first_step=2,
            position=position["prompt_position"], ahead=tuple(position["prompts_ahead"]),
        )  # fmt: skip
        assert Counter(_ids(first + rest)) == Counter(_stream(32))
        ahead += len(position["prompts_ahead"])
    assert (ahead > 0) == (max_lag > 0), "some were trained on out of their order"


@pytest.mark.parametrize("max_lag", [0, 2])
def test_groups_that_tie_are_replaced_one_for_one(max_lag: int) -> None:
    def ties(prompt: Prompt) -> bool:
        return int(prompt.record.id[1:]) % 2 == 0

    def script(prompt: Prompt, seed: int) -> tuple[float, ...]:
        return (0.0, 0.0) if ties(prompt) else (1.0, 0.0)

    job = _job(max_lag, num_steps=5, algorithm={"dynamic_sampling": {"max_rounds": 8}})
    batches, _ = _run(job, FakeCollector(script))
    for batch in batches:
        assert len(batch.groups) == 4
        assert all(int(s.meta.prompt_id[1:]) % 2 for s in batch.groups)
    ids = _ids(batches)
    assert len(set(ids)) == len(ids)


def test_a_group_that_nobody_could_judge_makes_the_batch_smaller() -> None:
    lost = _stream(8)[2]
    script: Script = lambda prompt, seed: None if prompt.record.id == lost else (1.0, 0.0)  # noqa: E731
    batches, _ = _run(_job(0), FakeCollector(script))
    assert [len(b.groups) for b in batches] == [3] + [4] * 7
    with pytest.raises(GraderError, match="no group of the batch could be scored"):
        _run(_job(0), FakeCollector(lambda prompt, seed: None))


def test_what_goes_wrong_behind_the_scenes_is_raised_where_a_batch_is_waited_for() -> None:
    collector = FakeCollector(_split, failure=WorkerLost("generate: rollout-0 died"))
    with pytest.raises(WorkerLost, match="rollout-0 died"):
        _run(_job(1), collector)


def test_generation_goes_on_while_the_loop_is_busy() -> None:
    import time

    job = _job(1)
    collector = FakeCollector(_split)
    stream = PromptStream(PROMPTS, job.seed)
    with AsynchronousSource(job, cast(Collector, collector), stream) as source:
        source.on_new_weights(0)
        source.next_groups()
        source.on_new_weights(1)
        time.sleep(1.0)  # an update
        began = time.monotonic()
        sampled = source.next_groups()
        assert time.monotonic() - began < 0.3
        assert sampled.counts["async/groups_ready"] == 4, "and so is the batch after it"
