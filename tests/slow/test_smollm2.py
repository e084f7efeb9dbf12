"""The real pretrained model on the real task: minutes each, run by `make test-slow`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from medray.observability.outcome import run_summary
from medray.storage.metrics_file import read_metrics
from medray.storage.run_folder import checkpoints
from tests.support.jobs import ROOT, run_job, start_job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def _settings(out: Path, **changes: Any) -> dict[str, Any]:
    config = ROOT / "jobs" / "configs" / "grpo_smollm2_cpu.yaml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings |= {"out": str(out), "deterministic": True, "evaluation": {"num_items": 0}}
    return settings | changes


def _weights_hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.usefixtures("smollm2")
def test_reward_rises_by_more_than_two_standard_errors(tmp_path: Path) -> None:
    code, output = run_job(_settings(tmp_path / "run", num_steps=16), timeout_s=1400)
    assert code == 0, output
    change = run_summary(tmp_path / "run").reward
    assert change is not None
    assert change.difference > 2 * change.standard_error, output
    gaps = [
        r.metrics["sync/max_logprob_gap"]
        for r in read_metrics(tmp_path / "run")
        if r.kind == "train"
    ]
    assert max(gaps) < 1e-3


@pytest.mark.usefixtures("smollm2")
def test_zero_advantages_leave_the_model_as_it_was(tmp_path: Path, smollm2: Path) -> None:
    """The control: every step is taken, and not one weight moves, so the reward cannot rise."""
    from safetensors.torch import load_file

    settings = _settings(tmp_path / "run", num_steps=2, algorithm={"zero_advantages": True})
    code, output = run_job(settings, timeout_s=900)
    assert code == 0, output
    before = load_file(smollm2 / "model.safetensors")
    after = load_file(checkpoints(tmp_path / "run")[-1] / "model.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert tensor.equal(after[name]), name


@pytest.mark.usefixtures("smollm2")
def test_killed_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed = _settings(tmp_path / "a", num_steps=4, checkpoint={"every": 2})
    code, output = run_job(undisturbed, timeout_s=900)
    assert code == 0, output
    settings = _settings(tmp_path / "b", num_steps=4, checkpoint={"every": 2})
    process = start_job(settings)
    end = time.monotonic() + 600
    while not any(r.step == 3 for r in _rows(tmp_path / "b")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    code, output = run_job(settings, timeout_s=900)
    assert code == 0, output
    last = [checkpoints(tmp_path / name)[-1] for name in ("a", "b")]
    assert [folder.name for folder in last] == ["step_000004"] * 2
    assert _weights_hash(last[0]) == _weights_hash(last[1])


@pytest.mark.usefixtures("smollm2")
def test_start_and_memory_are_accounted_for(tmp_path: Path) -> None:
    """Actors start together, so that all of them take little longer than the slowest; memory is as planned."""
    began = time.time()
    code, output = run_job(_settings(tmp_path / "run", num_steps=3), timeout_s=900)
    assert code == 0, output
    print(output)
    startup = json.loads((tmp_path / "run" / "startup.json").read_text())
    print(json.dumps(startup, indent=1))
    assert set(startup["phases_s"]) == {
        "driver",
        "ray",
        "actors",
        "sync",
        "evaluation",
        "first step",
    }
    assert sum(startup["phases_s"].values()) == pytest.approx(startup["total_s"])
    assert startup["total_s"] < time.time() - began
    assert set(startup["actors_s"]) == {"learner rank 0", "rollout-0", "grader-0"}
    assert 1 <= startup["actors_over_slowest"] <= 1.3

    memory = json.loads((tmp_path / "run" / "memory.json").read_text())
    print(json.dumps(memory, indent=1))
    for name, role in {"learner rank 0": "learner", "rollout-0": "rollout"}.items():
        measured, predicted = memory["measured"][name]["host"], memory["predicted"]["data"][role]
        assert measured < memory["predicted"]["limits"][role]["bytes"], name
        assert measured == pytest.approx(predicted["bytes"], rel=0.15), name


def _rows(out: Path) -> list[Any]:
    return read_metrics(out) if (out / "metrics.jsonl").is_file() else []
