"""What was tuned is taken where a job leaves a setting open, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medray.config.cores import usable_cores
from medray.config.grpo import GrpoJob
from medray.config.rollout import BATCH_TOKENS, BLOCK_TOKENS
from medray.config.workers import WorkerGroup
from medray.errors import DataError
from medray.planning.tuned import BATCH, BLOCK, ROLLOUT_THREADS, Situation, defaults, keep, settled
from tests.support.jobs import tiny_settings

FOUND = {"workers.learner.threads": 3, ROLLOUT_THREADS: 5, BLOCK: 64, BATCH: 1024}


@pytest.fixture(autouse=True)
def tuned_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of findings that is this test's own."""
    path = tmp_path / "cache" / "tuned.json"
    monkeypatch.setenv("MEDRAY_TUNED", str(path))
    return path


def _job(folder: Path, threads: Any = "auto", **engine: int) -> GrpoJob:
    settings = tiny_settings(folder / "model", folder)
    settings["workers"] |= {"learner": {"threads": threads}, "rollout": {"threads": threads}}
    settings["rollout"]["engine"] = engine
    settings["deterministic"] = False
    return GrpoJob.model_validate(settings)


def test_nothing_tuned_means_all_cores_and_the_defaults(tmp_path: Path) -> None:
    job, text = settled(_job(tmp_path))
    assert text == ""
    assert job.workers.learner.threads == job.workers.rollout.threads == usable_cores()
    assert job.rollout.engine.block_tokens == BLOCK_TOKENS
    assert job.rollout.engine.batch_tokens == BATCH_TOKENS


def test_sides_that_compute_at_once_share_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medray.planning.tuned.usable_cores", lambda: 8)
    job = _job(tmp_path)
    ahead = job.rollout.model_copy(update={"max_lag": 1})
    workers = job.workers.model_copy(update={"rollout": WorkerGroup(count=2)})
    values = defaults(job.model_copy(update={"rollout": ahead, "workers": workers}))
    assert (values["workers.learner.threads"], values[ROLLOUT_THREADS]) == (4, 2)


def test_findings_fill_what_is_open(tmp_path: Path) -> None:
    keep(Situation.of(_job(tmp_path)), FOUND, {"saved": 0.1})
    job, text = settled(_job(tmp_path))
    assert (job.workers.learner.threads, job.workers.rollout.threads) == (3, 5)
    assert (job.rollout.engine.block_tokens, job.rollout.engine.batch_tokens) == (64, 1024)
    assert f"{BLOCK}=64" in text


def test_settings_that_are_given_stand(tmp_path: Path) -> None:
    keep(Situation.of(_job(tmp_path)), FOUND, {"saved": 0.1})
    job, text = settled(_job(tmp_path, threads=2, block_tokens=96, batch_tokens=512))
    assert (job, text) == (_job(tmp_path, threads=2, block_tokens=96, batch_tokens=512), "")
    assert settled(_job(tmp_path, threads=None))[0].workers.learner.threads is None


def test_findings_hold_for_their_own_situation(tmp_path: Path) -> None:
    job = _job(tmp_path)
    other = job.model_copy(update={"rollout": job.rollout.model_copy(update={"max_lag": 1})})
    keep(Situation.of(other), FOUND, {"saved": 0.1})
    assert settled(job)[1] == ""
    assert settled(other)[1] != ""


def test_a_later_finding_replaces_an_earlier_one(tmp_path: Path, tuned_file: Path) -> None:
    situation = Situation.of(_job(tmp_path))
    keep(situation, FOUND, {"saved": 0.1})
    keep(situation, FOUND | {BLOCK: 128}, {"saved": 0.2})
    [entry] = json.loads(tuned_file.read_text())
    assert entry["values"][BLOCK] == 128


def test_a_damaged_file_is_named(tmp_path: Path, tuned_file: Path) -> None:
    tuned_file.parent.mkdir()
    for text in ("{", '[{"situation": 3}]', '[{"situation": {}, "values": {"a": "many"}}]', "7"):
        tuned_file.write_text(text)
        with pytest.raises(DataError, match=r"tuned\.json is damaged: remove it"):
            settled(_job(tmp_path))


def test_findings_kept_under_old_names_hold(tmp_path: Path) -> None:
    old = {"scale.learner.threads": 3, "scale.rollout.threads": 5}
    keep(Situation.of(_job(tmp_path)), old, {"saved": 0.1})
    job, _ = settled(_job(tmp_path))
    assert (job.workers.learner.threads, job.workers.rollout.threads) == (3, 5)
