"""The order in which GRPO does things, on scripted workers."""

from __future__ import annotations

import io
from typing import Any, cast

import numpy as np
import pytest

from medray.actors.workers import Workers
from medray.config.grpo import GrpoJob
from medray.observability.console.plain import PlainConsole
from medray.training.advantages import advantages_of
from medray.training.batch import Batch, minibatches
from medray.training.grpo import train_grpo
from medray.training.steps import PromptSets, Run
from medray.types import Prompt, Record, ResponseKl
from tests.support.fake_workers import FakeWorkers, ListSink


def _prompts(count: int, prefix: str) -> tuple[Prompt, ...]:
    return tuple(
        Prompt(Record(f"{prefix}{i}", ()), np.arange(5, dtype=np.int32)) for i in range(count)
    )


def _job(**changes: Any) -> GrpoJob:
    base: dict[str, Any] = {
        "num_steps": 3,
        "rollout": {"prompts_per_step": 4, "samples_per_prompt": 2},
        "evaluation": {"every": 2, "num_items": 2},
        "checkpoint": {"every": 2},
        "data": {"num_eval": 2},
    }
    return GrpoJob.model_validate(base | changes)


def _train(job: GrpoJob, workers: FakeWorkers, **run: Any) -> tuple[ListSink, str]:
    sink, out = ListSink(), io.StringIO()
    prompts = PromptSets(_prompts(10, "t"), _prompts(2, "h"))
    train_grpo(
        job, cast(Workers, workers), Run(prompts, sink, PlainConsole(job.num_steps, out), **run)
    )
    return sink, out.getvalue()


def _split(call: int, prompt: Prompt) -> tuple[float, ...]:
    return (1.0, 0.0)


def test_order_of_a_run() -> None:
    workers = FakeWorkers(_split)
    _train(_job(), workers)
    assert workers.log == [
        "sync 0", "evaluate v0",
        "rollout v0", "update 4", "sync 1", "record 1",
        "rollout v1", "update 4", "sync 2", "record 2", "evaluate v2", "save 2 @8",
        "rollout v2", "update 4", "sync 3", "record 3", "evaluate v3", "save 3 @12",
    ]  # fmt: skip


def test_phases_add_up_to_the_step_and_metrics_are_there() -> None:
    sink, _ = _train(_job(), FakeWorkers(_split))
    for metrics in sink.steps.values():
        phases = [v for k, v in metrics.items() if k.startswith("time/") and k != "time/step_s"]
        assert sum(phases) == pytest.approx(metrics["time/step_s"], rel=1e-9)
        assert metrics["reward/mean"] == 0.5
        assert metrics["sync/max_logprob_gap"] == 1e-5
    assert sorted(sink.evaluations) == [0, 2, 3]


def test_tied_groups_are_neither_computed_nor_counted() -> None:
    workers = FakeWorkers(
        lambda call, prompt: (1.0, 0.0) if prompt.record.id in ("t1", "t2") else (1.0, 1.0)
    )
    sink, _ = _train(_job(num_steps=5), workers)
    trained = [item.tokens for update in workers.updates for item in update]
    assert set(trained) <= {"t1", "t2"}
    assert sum(4 - m["groups/tied"] for m in sink.steps.values()) == len(trained)


def test_a_run_without_signal_says_so_and_what_to_change() -> None:
    workers = FakeWorkers(lambda call, prompt: (0.0, 0.0))
    _, text = _train(_job(num_steps=4, no_signal_patience=2), workers)
    assert text.count("no learning signal") == 2
    assert "rollout.samples_per_prompt" in text
    assert workers.updates == []


def test_zero_advantages_train_on_nothing_but_take_every_step() -> None:
    workers = FakeWorkers(_split)
    _train(_job(algorithm={"zero_advantages": True}), workers)
    assert len(workers.updates) == 3
    assert all(not item.advantages.any() for update in workers.updates for item in update)


def test_resumed_run_goes_on_with_the_next_prompts_and_seeds() -> None:
    whole = FakeWorkers(_split)
    _train(_job(num_steps=4), whole)
    rest = FakeWorkers(_split)
    _train(_job(num_steps=4), rest, first_step=2, prompt_position=8)
    assert rest.seen == whole.seen[8:]
    assert rest.seeds == whole.seeds[8:]
    assert rest.log[:2] == ["sync 2", "rollout v2"], "no evaluation is repeated"


def test_every_prompt_once_an_epoch() -> None:
    workers = FakeWorkers(_split)
    _train(_job(num_steps=5), workers)
    assert sorted(workers.seen[:10]) == sorted(f"t{i}" for i in range(10))
    assert sorted(workers.seen[10:20]) == sorted(f"t{i}" for i in range(10))


def test_minibatches_and_epochs_cover_the_batch() -> None:
    job = _job(algorithm={"minibatches": 2, "epochs": 2})
    batch = FakeWorkers(_split).collect(_prompts(4, "t"), [0] * 4, _spec())
    advantages = advantages_of(batch, job.algorithm, max_new_tokens=16).values
    taken = [
        [item.tokens for item in part.items]
        for part in minibatches(
            Batch(tuple(batch), tuple(advantages)),
            job.algorithm,
            lambda groups: [None] * len(groups),
        )
    ]
    assert taken == [["t0", "t1"], ["t2", "t3"]] * 2


def test_kl_in_the_reward_moves_the_advantage() -> None:
    """Rewards (1, 0), KL (2, 0) nats, coefficient 0.25: (0.5, 0) centred is (0.25, -0.25)."""
    from dataclasses import replace

    job = _job(algorithm={"kl": {"coef": 0.25, "place": "reward"}})
    [scored] = FakeWorkers(_split).collect(_prompts(1, "t"), [0], _spec())
    kl = (ResponseKl(2.0, 1.5, 0.25), ResponseKl(0.0, 0.0, 0.0))
    [advantages] = advantages_of([replace(scored, reference_kl=kl)], job.algorithm, 16).values
    np.testing.assert_allclose(advantages, [0.25, -0.25])


def _spec() -> Any:
    from medray.training.sampling import train_spec

    return train_spec(_job())


def test_the_schedule_counts_steps_that_tie() -> None:
    """Of four batches in two minibatches each, the second batch ties whole and the third in its first half."""

    def script(call: int, prompt: Prompt) -> tuple[float, float]:
        ties = call == 2 or (call == 3 and prompt.record.id in third[:2])
        return (1.0, 1.0) if ties else (1.0, 0.0)

    third = ["t?"] * 4
    job = _job(num_steps=4, algorithm={"minibatches": 2})
    probe = FakeWorkers(_split)
    _train(job, probe)
    third = probe.seen[8:12]
    workers = FakeWorkers(script)
    _train(job, workers)
    assert workers.places == [0, 1, 5, 6, 7]
    assert job.num_optim_steps == 8
