"""The header shows what `auto` and settings left open came to."""

from __future__ import annotations

from pathlib import Path

from medray.actors.ray_calls.wait import Started
from medray.config.grpo import GrpoJob
from medray.runs.header import describe_sync, rl_header
from tests.support.jobs import tiny_settings

STARTED = {"learner rank 0": Started("a model", 2.0), "rollout-0": Started("rollout-0", 9.0)}


def test_a_line_for_each_choice(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, tmp_path)
    settings["rollout"]["engine"] |= {"block_tokens": 64, "batch_tokens": 2048}
    settings["workers"]["rollout"] = {"cpus": 1, "threads": 2}
    job = GrpoJob.model_validate(settings)
    lines = rl_header(job, STARTED, data="20 rows", start_s=11.0)
    assert lines == {
        "run": job.out,
        "model": "a model",
        "data": "20 rows",
        "actors": "1 learner, 1 rollout, 1 grader; ready after 11 s, the slowest (rollout-0) loaded in 9 s",
        "threads": "1 per learner rank (strategy single), 2 per rollout worker",
        "engine": "float32, KV blocks of 64 tokens, up to 2,048 tokens and 16 sequences together",
        "sync": "object_store",
    }


def test_forms_of_adapters_are_named_until_one_is_chosen(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, tmp_path, deterministic=False)
    settings["model"]["lora"] = {}
    job = GrpoJob.model_validate(settings)
    assert describe_sync(job) == (
        "object_store, adapters as factors and merged until the faster form is known"
    )
    fixed = job.model_copy(update={"sync": job.sync.model_copy(update={"adapters": "merged"})})
    assert describe_sync(fixed) == "object_store, adapters as merged"
    settings["deterministic"] = True
    assert describe_sync(GrpoJob.model_validate(settings)) == "object_store, adapters as factors"
