"""What an RL run says about its data: every row that was read is trained on, held out or counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medray.config.grpo import GrpoJob
from medray.data.loading.load import load_dataset
from medray.errors import DataError
from medray.runs.launch import prepare_prompts
from tests.support.jobs import tiny_settings


def _job(model: Path, folder: Path, *, num_long: int, prompts_per_step: int = 4) -> GrpoJob:
    settings = tiny_settings(model, folder)
    rows = [
        {"id": str(i), "question": f"Is {i} even?" + " why" * 200 * (i < num_long)}
        | {"options": ["yes", "no"], "answer": "A"}
        for i in range(20)
    ]
    Path(settings["data"]["path"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings["data"] |= {"max_prompt_tokens": 400, "num_eval": 0}
    settings["evaluation"] = {"num_items": 0}
    settings["rollout"] |= {"prompts_per_step": prompts_per_step}
    return GrpoJob.model_validate(settings)


def test_the_header_and_the_provenance_count_prompts_that_are_too_long(
    tiny_model: Path, tmp_path: Path
) -> None:
    job = _job(tiny_model, tmp_path, num_long=7)
    prompts = prepare_prompts(job, load_dataset(job.data))
    assert len(prompts.train) == 13
    assert "20 rows, 20 train" in prompts.summary
    assert "13 prompts to train on, 0 prompts held out" in prompts.summary
    reason = "longer than data.max_prompt_tokens=400"
    assert f"to train on: 7 of 20 skipped, {reason} (" in prompts.summary
    assert prompts.provenance["read"] == 20
    assert prompts.provenance["train"] == 13
    assert prompts.provenance["skipped"] == {f"to train on, {reason}": 7}


def test_nothing_is_said_of_skipped_prompts_where_none_is(tiny_model: Path, tmp_path: Path) -> None:
    job = _job(tiny_model, tmp_path, num_long=0)
    prompts = prepare_prompts(job, load_dataset(job.data))
    assert prompts.summary.endswith("; 20 prompts to train on, 0 prompts held out")
    assert prompts.provenance["skipped"] == {}


def test_too_few_prompts_says_how_many_were_skipped(tiny_model: Path, tmp_path: Path) -> None:
    job = _job(tiny_model, tmp_path, num_long=17)
    with pytest.raises(DataError, match=r"only 3 training prompts.*17 of 20 skipped, longer"):
        prepare_prompts(job, load_dataset(job.data))
