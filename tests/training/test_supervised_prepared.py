"""Prepared folders as the data of supervised jobs: the same steps, also while the folder is still being written."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from medray.config.prepare import PrepareJob
from medray.config.supervised import SupervisedJob
from medray.data.loading.load import load_dataset
from medray.data.prepared.manifest import read_manifest
from medray.errors import ConfigError, DataError
from medray.learners.methods import METHODS
from medray.runs.tokenise import tokenise_dataset
from medray.storage.metrics_file import MetricRow, read_metrics
from medray.storage.run_folder import checkpoints
from tests.support.prepare import prepare_for
from tests.support.supervised import STAGES, supervised_job, train_here
from tests.support.tiny import save_tiny_model


def preparation(method: str, tiny: Path, folder: Path, **changes: Any) -> PrepareJob:
    """A preparation of the rows that `supervised_job` makes, one bundle each and in their order."""
    stage = METHODS[method].stage
    settings = {
        "out": str(folder / "prepared"),
        "stage": stage,
        "model": {"path": str(tiny)},
        "layout": {"kind": "keep"},
    } | changes
    settings.setdefault("data", PrepareJob.model_validate(settings).data.model_dump(mode="json"))
    settings["data"] |= {"num_train": 24, "num_eval": 6}
    return PrepareJob.model_validate(settings)


def job_on(folder: Path, method: str, tiny: Path, out: Path, **changes: Any) -> SupervisedJob:
    return supervised_job(method, tiny, out, data={"path": str(folder)}, **changes)


def figures(job: SupervisedJob) -> list[tuple[int, dict[str, float]]]:
    """Metrics of a run that do not tell of time, or of how long an epoch is."""
    return [
        (r.step, {k: v for k, v in r.metrics.items() if _compares(k)})
        for r in read_metrics(job.out)
    ]


def _compares(name: str) -> bool:
    return not (name.startswith("time/") or name.endswith("_per_s") or name == "data/epoch")


@pytest.mark.parametrize("method", STAGES)
def test_a_prepared_folder_gives_the_steps_of_its_rows(
    method: str, tiny_model: Path, tmp_path: Path
) -> None:
    """Also the same held-out figures; KTO without its pairs of prompts, which differ."""
    prepare_for(preparation(method, tiny_model, tmp_path))
    changes: dict[str, Any] = {"batch": {"rows_per_step": 4, "num_steps": 4, "shuffle": False}}
    if method == "kto":
        changes["loss"] = {"reference_point": "zero"}
    found = job_on(tmp_path / "prepared", method, tiny_model, tmp_path / "a", **changes)
    train_here(method, found)
    expected = supervised_job(method, tiny_model, tmp_path / "b", **changes)
    train_here(method, expected)
    assert figures(found) == figures(expected)


@pytest.mark.parametrize("method", ["kto", "dpo"])
def test_mismatched_responses_and_a_separate_reference(
    method: str, tiny_model: Path, tmp_path: Path
) -> None:
    """Without an adapter the reference is a frozen copy. A KTO step without mismatched responses is an error."""
    prepare_for(preparation(method, tiny_model, tmp_path))
    job = job_on(
        tmp_path / "prepared", method, tiny_model, tmp_path, model={"path": str(tiny_model)}
    )
    train_here(method, job)
    rows = [r.metrics for r in read_metrics(job.out) if r.kind == "train"]
    assert len(rows) == 4
    assert not (tmp_path / "run" / "reference").exists()
    if method == "kto":
        assert rows[0]["kto/reference_point_nats"] < 1e-4, "policy and reference are the same yet"


def test_training_begins_before_preparation_ends(tiny_model: Path, tmp_path: Path) -> None:
    """And ends with the weights of a run that began afterwards."""
    data = {"kind": "icd10-sft"}
    preparing = preparation("sft", tiny_model, tmp_path, data=data, shards={"num_rows": 6})
    changes = {
        "batch": {"rows_per_step": 2, "num_steps": 12},
        "evaluation": {"every": 100, "num_rows": 0},
    }
    early = job_on(tmp_path / "prepared", "sft", tiny_model, tmp_path / "early", **changes)

    def until_the_first_step(window: int) -> None:
        deadline = time.monotonic() + 100
        while window == 2 and not _steps(early):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    writing = threading.Thread(target=prepare_for, args=(preparing, until_the_first_step))
    writing.start()
    while not (tmp_path / "prepared" / "manifest.json").exists():
        time.sleep(0.02)
    train_here("sft", early)
    writing.join(100)
    assert read_manifest(tmp_path / "prepared").complete
    late = job_on(tmp_path / "prepared", "sft", tiny_model, tmp_path / "late", **changes)
    train_here("sft", late)
    assert figures(early) == figures(late)
    weights = [checkpoints(Path(j.out))[-1] / "model.safetensors" for j in (early, late)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(tiny_model: Path, tmp_path: Path) -> None:
    """Over several shards, in the second epoch, from the middle."""
    layout = {"kind": "bucket", "row_tokens": 600}
    prepare_for(preparation("dpo", tiny_model, tmp_path, layout=layout, shards={"num_rows": 8}))
    changes: dict[str, Any] = {
        "batch": {"rows_per_step": 4, "num_epochs": 2},
        "checkpoint": {"every": 1, "keep_last": 99},
    }
    whole = job_on(tmp_path / "prepared", "dpo", tiny_model, tmp_path / "a", **changes)
    train_here("dpo", whole)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    rest = job_on(tmp_path / "prepared", "dpo", tiny_model, tmp_path / "b", **changes)
    done = checkpoints(Path(rest.out))
    assert len(done) > 3
    for checkpoint in done[len(done) // 2 + 1 :]:
        shutil.rmtree(checkpoint)
    train_here("dpo", rest)
    assert figures(rest) == figures(whole)
    last = [checkpoints(Path(job.out))[-1] for job in (whole, rest)]
    assert last[0].name == last[1].name
    for name in ("adapter_model.safetensors", "trainer_state.tensors"):
        assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes()


def _steps(job: SupervisedJob) -> list[MetricRow]:
    out = Path(job.out)
    return read_metrics(out) if (out / "metrics.jsonl").is_file() else []


def test_what_a_prepared_folder_cannot_do_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "prepared"
    prepare_for(preparation("kto", tiny_model, tmp_path))
    for method, changes, error, said in (
        ("sft", {}, DataError, "was prepared for stage=kto, but this job needs sft"),
        ("kto", {"loss": {"reference": "precomputed"}}, ConfigError, "set loss.reference=separate"),
        ("kto", {"chat": {"max_tokens": 99}}, ConfigError, "chat.max_tokens=99, but data.path was"),
    ):
        job = job_on(folder, method, tiny_model, tmp_path, **changes)
        with pytest.raises(error, match=said) as caught:
            tokenise_dataset(method, job)
        assert "\n" not in str(caught.value)
    job = supervised_job("kto", tiny_model, tmp_path, data={"path": str(folder), "num_train": 8})
    with pytest.raises(ConfigError, match=r"data\.num_train has no effect on"):
        tokenise_dataset("kto", job)
    with pytest.raises(DataError, match="contains prepared tokens"):
        load_dataset(job.data)
    tokenizer = save_tiny_model(tmp_path / "other") / "chat_template.jinja"
    tokenizer.write_text("{{ messages[0]['content'] }}")
    with pytest.raises(DataError, match="differ from this model's"):
        tokenise_dataset("kto", job_on(folder, "kto", tmp_path / "other", tmp_path))


def test_a_folder_that_grows_needs_a_number_of_steps(tiny_model: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(window: int) -> None:
        if window == 1:
            raise Stop

    preparing = preparation("dpo", tiny_model, tmp_path, shards={"num_rows": 6})
    with pytest.raises(Stop):
        prepare_for(preparing, stop)
    job = job_on(tmp_path / "prepared", "dpo", tiny_model, tmp_path, batch={"rows_per_step": 2})
    with pytest.raises(ConfigError, match=r"set batch\.num_steps"):
        tokenise_dataset("dpo", job)
    settings = {"model": {"path": str(tiny_model)}, "loss": {"reference": "precomputed"}}
    job = job_on(tmp_path / "prepared", "dpo", tiny_model, tmp_path, **settings)
    with pytest.raises(ConfigError, match=r"is still being prepared: set loss.reference=separate"):
        tokenise_dataset("dpo", job)
