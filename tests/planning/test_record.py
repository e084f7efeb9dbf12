"""`memory.json`: what was predicted beside what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medray.config.dpo import DpoJob
from medray.planning.plan import plan_job
from medray.planning.record import record_memory
from medray.planning.tokens import largest_row, with_longest
from medray.system.units import GIB
from tests.support.jobs import tiny_job


def test_the_measured_peak_stands_beside_both_predictions(tiny_model: Path, tmp_path: Path) -> None:
    job = tiny_job(tiny_model, tmp_path)
    measured = {
        "learner rank 0": {"host": 2 * GIB}, "rollout-0": {"host": GIB}, "rollout-1": {"host": 3 * GIB},
        "grader-0": {"host": GIB // 4},
    }  # fmt: skip

    line = record_memory(tmp_path, job, measured, longest=40, step_tokens=288)

    told = json.loads((tmp_path / "memory.json").read_text())
    assert told["measured"] == measured
    limits, data = (told["predicted"][name] for name in ("limits", "data"))
    assert limits["learner"]["bytes"] == plan_job(job).roles[0].memory.device_bytes
    assert data["learner"]["bytes"] < limits["learner"]["bytes"], "its prompts are shorter"
    assert data["row_tokens"] == 4 * (40 + 4 * 8)
    assert sum(data["learner"]["parts"].values()) == pytest.approx(data["learner"]["bytes"], abs=1)
    predicted = data["learner"]["bytes"] / GIB
    assert line.startswith(f"learner 2.00 GiB ({predicted:.2f} predicted, ")
    assert "rollout 3.00 GiB" in line, "of several workers the largest"


def test_a_pair_as_long_as_the_longest_one_is_planned_for(tmp_path: Path) -> None:
    settings = {"batch": {"rows_per_step": 1}, "learner": {"row_tokens": 16}, "data": {"path": "x"}}
    job = DpoJob.model_validate(settings)

    row = largest_row(with_longest(job, 350))

    assert row.num_tokens == pytest.approx(350, abs=2)


def test_a_step_that_computed_less_than_its_longest_rows_would_is_planned_for_as_it_was(
    tiny_model: Path, tmp_path: Path
) -> None:
    job = tiny_job(tiny_model, tmp_path)
    record_memory(tmp_path, job, {}, longest=40, step_tokens=100)
    data = json.loads((tmp_path / "memory.json").read_text())["predicted"]["data"]
    assert data["row_tokens"] == pytest.approx(100, abs=20)


def test_a_model_that_cannot_be_read_leaves_the_measured_peaks(tmp_path: Path) -> None:
    job = tiny_job(tmp_path / "gone", tmp_path)

    line = record_memory(tmp_path, job, {"rollout-0": {"host": GIB}}, longest=8, step_tokens=8)

    told = json.loads((tmp_path / "memory.json").read_text())
    assert told["measured"] == {"rollout-0": {"host": GIB}}
    assert "no such folder" in told["predicted"]["error"]
    assert line.startswith("no prediction")
