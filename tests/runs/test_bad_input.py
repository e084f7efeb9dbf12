"""Settings and data that cannot work end RL jobs with one line and an exit code, before Ray starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.command import assert_one_line, job_here
from tests.support.jobs import run_job, tiny_settings

Settings = dict[str, Any]


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path) -> Settings:
    return tiny_settings(tiny_model, tmp_path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optim.lrr=1"], "unknown key optim.lrr: did you mean optim.lr"),
        (["model.path=./nowhere"], "nowhere"),
        (["algorithm.minibatches=3"], "not divisible"),
        (["rewards.0.kind=choices"], "choice"),
        (["data.num_eval=1000", "evaluation.num_items=4"], "data.num_eval"),
        (["rollout.environment.kind=second_lok"], "self_check"),
    ],
)
def test_grpo(settings: Settings, overrides: list[str], message: str) -> None:
    assert_one_line(job_here(settings, *overrides), 2, message)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm.kl.target=1", "algorithm.kl.coef=0"], "algorithm.kl.coef"),
        (["critic.model.path=./nowhere"], "nowhere"),
        (["workers.critic.count=5"], "workers.critic.count"),
        (["roles.layout=shared"], "model.lora"),
        (["roles.layout=shared", "model.lora={}", "learner.strategy=fsdp2"], "learner.strategy"),
        (["rollout.max_lag=1"], "deterministic=false"),
        (["rewards.0.kind=model", "rewards.0.options.model.path=MODEL"], "score head"),
    ],
)
def test_ppo(settings: Settings, tiny_model: Path, overrides: list[str], message: str) -> None:
    settings["rollout"] |= {"samples_per_prompt": 2}
    filled = [o.replace("MODEL", str(tiny_model)) for o in overrides]
    assert_one_line(job_here(settings, *filled, job="ppo"), 2, message)


def test_distill(settings: Settings) -> None:
    outcome = job_here(settings, job="distill")
    assert_one_line(outcome, 2, "error: algorithm.distill: Field required")


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "empty"), ('{"question": "q", "options": ["a", "b"]}\n', ":1"), ("{nonsense\n", ":1")],
)
def test_bad_data_names_file_and_line(settings: Settings, content: str, message: str) -> None:
    Path(settings["data"]["path"]).write_text(content, encoding="utf-8")
    outcome = job_here(settings)
    assert_one_line(outcome, 2, "choice.jsonl")
    assert message in outcome.stderr


def test_a_process_of_its_own_says_nothing_else(settings: Settings) -> None:
    """Only this shows what libraries print while they are imported, and that the data is read before Ray starts."""
    Path(settings["data"]["path"]).write_text("{nonsense\n", encoding="utf-8")
    code, output = run_job(settings, timeout_s=120)
    assert code == 2, output
    [line] = output.strip().splitlines()
    assert line.startswith("error: ")
    assert "choice.jsonl:1" in line


@pytest.mark.ray
def test_gpus_that_the_cluster_lacks(settings: Settings) -> None:
    """Only this shows an error that a running cluster raises, and its exit code."""
    overrides = ("model.device=cuda", "workers.learner.gpus=1", "workers.rollout.gpus=1")
    code, output = run_job(settings, *overrides, timeout_s=120)
    assert code == 3, output
    [line] = output.strip().splitlines()
    assert line.startswith("error: ")
    assert "GPU" in line
