"""docs/PIPELINE.md prints what `make pipeline` runs, and the stages are a chain."""

from __future__ import annotations

import re

import pytest

from medray.commands.job_file import load_job
from medray.data.loading.load import load_dataset
from scripts.pipeline import STAGES, config_of, is_finished
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "PIPELINE.md").read_text(encoding="utf-8")


def settings(job: str):
    return load_job(ROOT / config_of(job))


def test_the_document_shows_what_is_run() -> None:
    shown = re.findall(r"^(python jobs/(\w+)\.py --config (\S+))  #", TEXT, re.MULTILINE)
    assert [job for _, job, _ in shown] == [*STAGES, "evaluate"]
    assert [config for _, _, config in shown] == [config_of(job) for _, job, _ in shown]


def test_every_stage_reads_the_run_folder_of_one_before() -> None:
    jobs = {job: settings(job) for job in STAGES}
    outs = {job.out: name for name, job in jobs.items()}
    read = {name: outs.get(job.model.path, job.model.path) for name, job in jobs.items()}
    assert read == {"pt": "smollm2-135m", "sft": "pt", "rm": "sft", "dpo": "sft", "grpo": "dpo"}
    evaluated = {model.path for model in settings("evaluate").models}
    assert evaluated == {"smollm2-135m", *outs}


def test_the_table_is_about_rows_that_no_stage_trains_on() -> None:
    evaluation = settings("evaluate")
    held_out = [
        load_dataset(part) for part in (evaluation.questions, evaluation.texts, evaluation.pairs)
    ]
    codes = {record.id.split("/")[-1] for data in held_out for record in data.held_out}
    trained = {
        record.id.split("/")[-1]
        for job in STAGES
        for record in load_dataset(settings(job).data).train
    }
    assert len(codes) >= 128
    assert not codes & trained


@pytest.mark.parametrize("job", STAGES)
def test_a_stage_without_a_run_is_not_finished(job: str, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("scripts.pipeline.ROOT", tmp_path)
    (tmp_path / "jobs/configs").mkdir(parents=True)
    (tmp_path / config_of(job)).write_bytes((ROOT / config_of(job)).read_bytes())
    assert not is_finished(job)
