"""jobs/distill.py with its teacher in the learner and in vLLM: real Ray, real vLLM, tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.jobs import run_job, tiny_settings
from tests.support.running import train_rows
from tests.support.tiny import save_tiny_model

pytestmark = pytest.mark.ray


def _divergences(model: Path, teacher: Path, folder: Path, *overrides: str) -> list[float]:
    settings: dict[str, Any] = tiny_settings(model, folder)
    settings["algorithm"] = {"distill": {"teacher": {"path": str(teacher)}}}
    settings["optim"] = {"lr": 3e-3}
    code, output = run_job(settings, *overrides, job="distill")
    assert code == 0, output
    steps = [row.metrics for row in train_rows(settings["out"])]
    assert all(step["optim/grad_norm"] > 0 for step in steps)
    return [step["distill/divergence"] for step in steps]


def test_the_teacher_in_vllm_says_nearly_all_that_one_in_the_learner_does(
    tiny_model: Path, tmp_path: Path
) -> None:
    teacher = save_tiny_model(tmp_path / "teacher", seed=1)
    for name in ("held", "told"):
        (tmp_path / name).mkdir()
    [whole] = _divergences(tiny_model, teacher, tmp_path / "held", "num_steps=1")
    first, *_, last = _divergences(
        tiny_model, teacher, tmp_path / "told", "num_steps=6", "algorithm.distill.engine=vllm",
        "algorithm.distill.top=200",
    )  # fmt: skip
    assert 0.5 * whole < first <= whole + 1e-4, "the same samples, less told apart"
    assert last < first
