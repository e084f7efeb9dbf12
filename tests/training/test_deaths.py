"""A run outlives its processes: a rollout worker, a grader and a learner rank are killed, no prompt is lost."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from medray.storage.metrics_file import read_metrics
from medray.storage.rollout_files import read_rollouts
from tests.support.jobs import start_job, tiny_settings
from tests.support.running import actor_processes, wait_for_step

pytestmark = pytest.mark.ray

WORKERS = {
    "learner": {"count": 2, "cpus": 0.5}, "rollout": {"count": 2, "cpus": 0.5}, "grader": {"count": 2, "cpus": 0},
}  # fmt: skip


def _kill(job: psutil.Process, actor: str) -> None:
    """SIGKILL the first process of the job that runs `actor`."""
    found = actor_processes(job, actor)
    assert found, f"no {actor} runs"
    found[0].kill()


def test_every_prompt_is_trained_once_whoever_dies(tiny_model: Path, tmp_path: Path) -> None:
    settings = tiny_settings(
        tiny_model, tmp_path, workers=WORKERS, num_steps=12, checkpoint={"every": 2}
    )
    out = Path(settings["out"])
    process = start_job(settings)
    job = psutil.Process(process.pid)
    wait_for_step(out, 2, process)
    _kill(job, "RolloutActor")
    wait_for_step(out, 4, process)
    _kill(job, "RewardActor")
    wait_for_step(out, 6, process)
    _kill(job, "LearnerActor")
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "starting again from the last checkpoint" in output
    steps = [row.step for row in read_metrics(out) if row.kind == "train"]
    assert steps == list(range(1, 13))
    rows = read_rollouts(out).to_pylist()
    assert len(rows) == 12 * 4 * 4
    assert len({(r["step"], r["prompt_id"], r["sample"]) for r in rows}) == len(rows)
    epoch = [r["prompt_id"] for r in rows if r["step"] <= 7 and r["sample"] == 0]
    assert len(set(epoch)) == len(epoch) == 28, "28 training prompts, each once in the first epoch"
    incidents = [json.loads(line) for line in (out / "incidents.jsonl").read_text().splitlines()]
    deaths = [i["who"] for i in incidents if i["kind"] == "death"]
    assert any(who.startswith("rollout-") for who in deaths), incidents
    assert any(who.startswith("grader-") for who in deaths), incidents
    assert "learner" in deaths, incidents
