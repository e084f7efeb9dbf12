"""Old names of settings: refused with the new one, understood in run folders that were written with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medray.commands.check_config import SCHEMAS, job_schema
from medray.config.base import Section
from medray.config.evaluate import EvaluateJob
from medray.config.generate import GenerateJob
from medray.config.grpo import GrpoJob
from medray.config.keys import known_keys
from medray.config.loader import dump_config, validated
from medray.config.ppo import PpoJob
from medray.config.prepare import PrepareJob
from medray.config.renamed import KEYS, NOW_SECTIONS, VALUES, with_present_names
from medray.config.sft import SftJob
from medray.errors import CheckpointError, ConfigError
from medray.runs.resume import find_resume
from tests.support.jobs import tiny_job

FILES = {"input": "a.jsonl", "output": "b.jsonl"}
OLD: list[tuple[type[Section], dict[str, Any], list[str]]] = [
    (
        GrpoJob,
        {"scale": {"learner_ranks": 2, "learner": {"cpus": 2, "custom": {"node": 1}}}},
        [
            "unknown key scale.learner_ranks: it is now workers.learner.count",
            "unknown key scale.learner.cpus: it is now workers.learner.cpus",
            "unknown key scale.learner.custom: it is now workers.learner.custom",
        ],
    ),
    (PpoJob, {"scale": {"critic_ranks": 2}}, ["unknown key scale.critic_ranks: it is now workers.critic.count"]),
    (
        SftJob,
        {"workers": {"num_workers": 2, "resources": {"threads": 2}, "max_failures": 1}},
        [
            "unknown key workers.num_workers: it is now workers.learner.count",
            "unknown key workers.resources.threads: it is now workers.learner.threads",
            "unknown key workers.max_failures: it is now workers.max_restarts",
        ],
    ),
    (
        GenerateJob,
        FILES | {"workers": 4, "worker": {"gpus": 1}},
        [
            "unknown key workers: it is now workers.engine.count",
            "unknown key worker.gpus: it is now workers.engine.gpus",
        ],
    ),
    (EvaluateJob, {"resources": {"cpus": 2}}, ["unknown key resources.cpus: it is now workers.evaluator.cpus"]),
    (PrepareJob, {"num_workers": 3}, ["unknown key num_workers: it is now workers.tokenizer.count"]),
    (
        GrpoJob,
        {"rollout": {"environment": {"kind": "second_look"}}},
        ["rollout.environment.kind=second_look: it is now self_check"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "settings", "lines"), OLD)
def test_an_old_name_is_refused_with_the_new_one(
    schema: type[Section], settings: dict[str, Any], lines: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        validated(schema, settings)
    assert str(refused.value).splitlines() == lines


def test_other_mistakes_are_told_beside_it() -> None:
    with pytest.raises(ConfigError) as refused:
        validated(GrpoJob, {"scale": {"graders": 0}, "optim": {"lrr": 1}})
    told = str(refused.value)
    assert "it is now workers.grader.count" in told
    assert "workers.grader.count: Input should be greater than or equal to 1" in told
    assert "did you mean optim.lr" in told


def test_every_new_name_is_a_key_and_no_old_one_is() -> None:
    known = {key for job in SCHEMAS for key in known_keys(job_schema(job))}
    assert known >= {*KEYS.values(), *NOW_SECTIONS.values(), *VALUES}
    assert not known & KEYS.keys()


@pytest.mark.parametrize("job", SCHEMAS)
def test_present_names_stay(job: str) -> None:
    fields = job_schema(job).model_fields
    settings = {name: info.get_default(call_default_factory=True) for name, info in fields.items()}
    plain = {k: v.model_dump() if isinstance(v, Section) else v for k, v in settings.items()}
    renaming = with_present_names(job_schema(job), plain)
    assert (renaming.settings, renaming.problems) == (plain, ())


def test_what_is_no_key_stays_where_it_is() -> None:
    settings = {
        "scale": {"learners": 2},
        "rewards": [{"options": {"worker": 1}}],
        "optim.lr": 1,
        3: 4,
    }
    renaming = with_present_names(GrpoJob, settings)  # type: ignore[arg-type]
    assert (renaming.settings, renaming.problems) == (settings, ())


def _run_folder(job: GrpoJob, changes: dict[str, Any]) -> None:
    """A run of `job` at step 1, its config.json under the names of before."""
    settings = json.loads(dump_config(job))
    workers = settings.pop("workers")
    settings["scale"] = {
        "learner_ranks": workers["learner"].pop("count"), "learner": workers["learner"],
        "rollout_workers": workers["rollout"].pop("count"), "rollout": workers["rollout"],
    }  # fmt: skip
    out = Path(job.out)
    checkpoint = out / "checkpoints" / "step_1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "scalars.json").write_text(json.dumps({"step": 1, "prompt_position": 4}))
    (out / "config.json").write_text(json.dumps(settings | changes))


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are folders with their scalars."""
    monkeypatch.setattr(
        "medray.runs.resume.checkpoints", lambda out: sorted((out / "checkpoints").iterdir())
    )
    monkeypatch.setattr(
        "medray.runs.resume.load_scalars", lambda p: json.loads((p / "scalars.json").read_text())
    )


@pytest.mark.usefixtures("whole")
def test_a_run_that_began_under_old_names_goes_on(tmp_path: Path) -> None:
    job = tiny_job(tmp_path / "model", tmp_path, rollout={"environment": {"kind": "self_check"}})
    _run_folder(job, {"rollout": job.rollout.model_dump(mode="json")})
    config = json.loads((Path(job.out) / "config.json").read_text())
    config["rollout"]["environment"]["kind"] = "second_look"
    (Path(job.out) / "config.json").write_text(json.dumps(config))
    resume = find_resume(job)
    assert resume is not None
    assert resume.step == 1


@pytest.mark.usefixtures("whole")
def test_other_settings_under_old_names_are_other_settings(tmp_path: Path) -> None:
    job = tiny_job(tmp_path / "model", tmp_path)
    _run_folder(job, {"seed": 3})
    with pytest.raises(CheckpointError, match="trained with seed=3, but this config has 17"):
        find_resume(job)
