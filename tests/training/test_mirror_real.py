"""A run whose machine is gone continues from its copy on shared storage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medray.storage.metrics_file import read_metrics
from medray.storage.rollout_files import read_rollouts
from medray.storage.run_folder import checkpoints
from tests.support.jobs import run_job, tiny_settings

pytestmark = pytest.mark.ray


def test_a_run_folder_that_is_lost_is_brought_back(tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "storage" / "run"
    settings = tiny_settings(tiny_model, tmp_path, num_steps=3, mirror=f"file://{copy}")
    out = Path(settings["out"])
    code, output = run_job(settings, "num_steps=2")
    assert code == 0, output
    assert [c.name for c in checkpoints(copy)] == ["step_000001", "step_000002"]
    shutil.rmtree(out)

    code, output = run_job(settings)

    assert code == 0, output
    assert "continued from step 2" in output
    steps = [row.step for row in read_metrics(out) if row.kind == "train"]
    assert steps == [1, 2, 3]
    rows = read_rollouts(copy).to_pylist()
    assert {r["step"] for r in rows} == {1, 2, 3}, "each node copied what it wrote"
    assert len({(r["step"], r["prompt_id"], r["sample"]) for r in rows}) == len(rows) == 3 * 16
    for name in ("config.json", "metrics.jsonl", "startup.json", "memory.json", "report.html"):
        assert (copy / name).read_bytes() == (out / name).read_bytes()
