"""Supervised runs: every stage, selection, references, adapters; and on real Ray Train workers, summary, bad input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from medray.actors.cluster.connect import connected
from medray.errors import CheckpointError, ConfigError, DataError, ModelError
from medray.models.fetching.fetch import resolve_model
from medray.runs.launch_supervised import merge_result, run_supervised
from medray.storage.metrics_file import read_metrics
from medray.storage.run_folder import checkpoints, step_of
from tests.data.helpers import write_jsonl
from tests.support.running import train_rows
from tests.support.supervised import STAGES, supervised_job, train_here


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One Ray for the runs of this file that need it."""
    with connected():
        yield


def _held_out(folder: Path | str, name: str) -> list[float]:
    return [row.metrics[f"eval/{name}"] for row in read_metrics(folder) if row.kind == "eval"]


@pytest.mark.parametrize("method", STAGES)
def test_every_stage_learns_its_rows(method: str, tiny_model: Path, tmp_path: Path) -> None:
    batch = {"rows_per_step": 6, "num_steps": 8, "shuffle": False}
    job = supervised_job(
        method, tiny_model, tmp_path, data={"num_train": 6, "num_eval": 2}, batch=batch
    )
    train_here(method, job)
    steps = train_rows(job.out)
    assert [row.step for row in steps] == list(range(1, 9))
    assert steps[-1].metrics["loss/total"] < steps[0].metrics["loss/total"], "it learns by heart"
    for row in steps:
        phases = [v for k, v in row.metrics.items() if k.startswith("time/") and k != "time/step_s"]
        assert sum(phases) == pytest.approx(row.metrics["time/step_s"], rel=1e-6)
    assert len(_held_out(job.out, "loss/total")) == 5, "before, then every second step"
    assert step_of(checkpoints(Path(job.out))[-1]) == 8


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("method", ["kto", "prm"])
def test_two_workers_take_the_steps_of_one(method: str, tiny_model: Path, tmp_path: Path) -> None:
    settings = {"learner": {"count": 2, "cpus": 0.4}}
    two = supervised_job(method, tiny_model, tmp_path / "two", workers=settings)
    run_supervised(method, two)
    one = supervised_job(method, tiny_model, tmp_path / "one")
    train_here(method, one)
    rows = zip(read_metrics(one.out), read_metrics(two.out), strict=True)
    for expected, row in ((a.metrics, b.metrics) for a, b in rows):
        for name in expected.keys() & row.keys():
            if not name.startswith("time/") and not name.endswith("_per_s"):
                assert row[name] == pytest.approx(expected[name], rel=1e-5, abs=1e-6), name
    folder = {p.name for p in Path(two.out).iterdir()}
    assert {"config.json", "provenance.json", "report.html", "metrics.jsonl"} <= folder
    with pytest.raises(CheckpointError, match="finished at step 4"):
        run_supervised(method, two)
    other = supervised_job(method, tiny_model, tmp_path / "two", seed=5, workers=settings)
    with pytest.raises(CheckpointError, match="trained with seed=17, but this config has 5"):
        run_supervised(method, other)


def test_training_stops_early_and_keeps_the_best(tiny_model: Path, tmp_path: Path) -> None:
    job = supervised_job(
        "sft",
        tiny_model,
        tmp_path,
        batch={"rows_per_step": 4, "num_steps": 40},
        optim={"lr": 0.3, "schedule": "constant", "warmup_steps": 6},  # soon far too fast
        evaluation={"every": 1, "num_rows": 6},
        checkpoint={"every": 1, "keep_last": 1},
        selection={"patience": 3},
    )
    train_here("sft", job)
    losses = _held_out(job.out, "loss/total")[1:]
    best = losses.index(min(losses)) + 1
    assert len(losses) == best + 3 < 40
    assert [step_of(p) for p in checkpoints(Path(job.out))] == [best, best + 3]
    assert Path(resolve_model(job.out)).name == f"step_{best:06d}", "the run stands for its best"
    with pytest.raises(CheckpointError, match="stopped early"):
        run_supervised("sft", job)


def test_a_run_goes_on_after_a_short_last_step(tiny_model: Path, tmp_path: Path) -> None:
    """Five rows, two per step: 2, 2, 1, and once more when an epoch is added; then it has finished."""
    changes: dict[str, Any] = {
        "data": {"num_train": 5, "num_eval": 0},
        "evaluation": {"num_rows": 0},
    }
    for epochs in (1, 2):
        batch = {"rows_per_step": 2, "num_epochs": epochs}
        job = supervised_job("sft", tiny_model, tmp_path, batch=batch, **changes)
        train_here("sft", job)
    found = [row.metrics["data/epoch"] for row in train_rows(job.out)]
    assert found == pytest.approx([0.4, 0.8, 1.0, 1.4, 1.8, 2.0])


def test_every_reference_gives_the_same_steps(tiny_model: Path, tmp_path: Path) -> None:
    losses = {}
    for reference in ("adapter_off", "precomputed", "separate"):
        job = supervised_job("dpo", tiny_model, tmp_path / reference, loss={"reference": reference})
        train_here("dpo", job)
        losses[reference] = [row.metrics["loss/total"] for row in train_rows(job.out)]
    assert losses["precomputed"] == pytest.approx(losses["adapter_off"], rel=1e-5)
    assert losses["separate"] == pytest.approx(losses["adapter_off"], rel=1e-5)
    assert list((tmp_path / "precomputed" / "run" / "reference").glob("*.safetensors"))


def test_one_prompt_for_all_rows_has_no_reference_point(tiny_model: Path, tmp_path: Path) -> None:
    """The error says to set loss.reference_point=zero, and that is enough."""
    rows = [{"prompt": "Q?", "completion": f"A {i}", "label": i % 2 == 0} for i in range(6)]
    path = write_jsonl(tmp_path / "a.jsonl", *rows)
    data = {"path": str(path), "num_eval": 0}
    settings: dict[str, Any] = {"data": data, "evaluation": {"num_rows": 0}}
    job = supervised_job("kto", tiny_model, tmp_path, **settings)
    with pytest.raises(DataError, match=r"set loss\.reference_point=zero"):
        train_here("kto", job)
    job = supervised_job("kto", tiny_model, tmp_path, loss={"reference_point": "zero"}, **settings)
    train_here("kto", job)
    assert [row.metrics["kto/reference_point_nats"] for row in train_rows(job.out)] == [0.0] * 4


def test_stages_build_on_run_folders_and_merge_at_the_end(tiny_model: Path, tmp_path: Path) -> None:
    """SFT with an adapter, DPO with another on top of it, and both in one model."""
    from transformers import AutoModelForCausalLM

    from medray.config.model import ModelConfig
    from medray.models.load import load_policy

    lora: dict[str, Any] = {"lora": {"rank": 4}}
    sft = supervised_job("sft", tiny_model, tmp_path / "a", model={"path": str(tiny_model)} | lora)
    train_here("sft", sft)
    dpo = supervised_job("dpo", tiny_model, tmp_path / "b", model={"path": sft.out} | lora)
    train_here("dpo", dpo)
    merged = AutoModelForCausalLM.from_pretrained(merge_result(dpo))
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.arange(5, 25)[None]
    stacked = (
        load_policy(ModelConfig(path=dpo.out, attention="plain"), trainable=False)
        .module(input_ids=ids)
        .logits
    )
    torch.testing.assert_close(merged(input_ids=ids).logits, stacked, atol=2e-5, rtol=1e-4)
    only_sft = (
        load_policy(ModelConfig(path=sft.out, attention="plain"), trainable=False)
        .module(input_ids=ids)
        .logits
    )
    for other in (base(input_ids=ids).logits, only_sft):
        assert (other - stacked).abs().max() > 1e-3


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_what_cannot_be_trained_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    job = supervised_job("sft", tiny_model, tmp_path, chat={"max_tokens": 8, "on_long": "drop"})
    with pytest.raises(DataError, match=r"no row is left to train on: dropped 30 \(too long"):
        run_supervised("sft", job)
    job = supervised_job("sft", tiny_model, tmp_path, selection={"metric": "lm/nil"})
    match = r"selection.metric=lm/nil is not measured: use one of lm/nll_nats, "
    with pytest.raises(ConfigError, match=match):  # from a worker, at once
        run_supervised("sft", job)
    job = supervised_job("sft", tmp_path / "nowhere", tmp_path)
    with pytest.raises(ModelError, match="no such folder"):
        run_supervised("sft", job)
