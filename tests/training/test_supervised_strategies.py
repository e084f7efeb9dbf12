"""Every strategy in every supervised job, on two workers of Ray Train: the losses of one process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from medray.actors.cluster.connect import connected
from medray.runs.launch_supervised import run_supervised
from medray.storage.metrics_file import MetricRow, read_metrics
from medray.storage.run_folder import checkpoints
from tests.support.prepare import prepare_for
from tests.support.supervised import STAGES, supervised_job, train_here
from tests.training.test_supervised_prepared import job_on, preparation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STRATEGIES = ("ddp", "zero1", "zero2", "zero3", "fsdp2")
Alone = Callable[[str], list[MetricRow]]
TWO = {"learner": {"count": 2, "cpus": 0.4}}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One Ray for all runs."""
    with connected():
        yield


@pytest.fixture(scope="module")
def alone(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """What one process computes, by method."""

    @functools.cache
    def rows(method: str) -> list[MetricRow]:
        job = supervised_job(method, tiny_model, tmp_path_factory.mktemp(method))
        train_here(method, job)
        return read_metrics(job.out)

    return rows


def assert_same(found: list[MetricRow], expected: list[MetricRow]) -> None:
    """All metrics but times; AdamW makes a little more of the last bits of a gradient with every step."""
    assert [(r.step, r.kind) for r in found] == [(r.step, r.kind) for r in expected]
    for row, wanted in zip(found, expected, strict=True):
        names = {n for n in wanted.metrics if not n.startswith("time/") and "_per_s" not in n}
        assert "loss/total" in names or "eval/loss/total" in names
        for name in names:
            value = wanted.metrics[name]
            assert row.metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-5), (row.step, name)


@pytest.mark.parametrize("method", STAGES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_workers_take_the_steps_of_one_process(
    strategy: str, method: str, alone: Alone, tiny_model: Path, tmp_path: Path
) -> None:
    job = supervised_job(method, tiny_model, tmp_path, workers=TWO, learner={"strategy": strategy})
    run_supervised(method, job)
    assert_same(read_metrics(job.out), alone(method))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_of_a_prepared_folder_too(strategy: str, tiny_model: Path, tmp_path: Path) -> None:
    """Packed, over several shards and epochs."""
    preparing = preparation(
        "sft",
        tiny_model,
        tmp_path,
        data={"kind": "icd10-sft"},
        layout={"kind": "pack", "row_tokens": 600},
        shards={"num_rows": 8},
    )
    prepare_for(preparing)
    changes: dict[str, Any] = {"batch": {"rows_per_step": 2, "num_epochs": 2}}
    folder = tmp_path / "prepared"
    one = job_on(folder, "sft", tiny_model, tmp_path / "one", **changes)
    train_here("sft", one)
    changes |= {"workers": TWO, "learner": {"strategy": strategy}}
    two = job_on(folder, "sft", tiny_model, tmp_path / "two", **changes)
    run_supervised("sft", two)
    assert_same(read_metrics(two.out), read_metrics(one.out))
    AutoModelForCausalLM.from_pretrained(checkpoints(Path(two.out))[-1])
