"""Whole jobs whose generation runs ahead: real Ray, real vLLM, weights that change in the middle of responses."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medray.storage.metrics_file import read_metrics
from medray.storage.rollout_files import read_rollouts
from tests.support.jobs import run_job, start_job, tiny_settings
from tests.support.running import train_rows
from tests.training.test_grpo_real import _weights_hash

pytestmark = pytest.mark.ray

STEPS = 4


def _settings(model: Path, folder: Path, max_lag: int | None, **changes: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    settings = tiny_settings(model, folder, num_steps=STEPS, checkpoint={"every": 2}, **changes)
    settings["rollout"]["max_lag"] = max_lag
    return settings


def _run(settings: dict[str, Any]) -> Path:
    code, output = run_job(settings)
    assert code == 0, output
    return Path(settings["out"])


def _figures(out: Path) -> list[Any]:
    rows = []
    for row in read_metrics(out):
        metrics = {
            k: v for k, v in row.metrics.items()
            if not k.startswith(("time/", "async/")) and not k.endswith("per_s")
        }  # fmt: skip
        rows.append((row.kind, row.step, metrics))
    return rows


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_at_lag_zero_the_figures_are_those_of_taking_turns_also_after_a_kill(
    tiny_model: Path, tmp_path: Path
) -> None:
    in_turn = _run(_settings(tiny_model, tmp_path / "a", None))
    without_lag = _run(_settings(tiny_model, tmp_path / "b", 0))
    assert _figures(in_turn) == _figures(without_lag)
    last = f"checkpoints/step_{STEPS:06d}"
    assert _weights_hash(in_turn / last) == _weights_hash(without_lag / last)

    killed = _settings(tiny_model, tmp_path / "c", 0)
    out, process = Path(killed["out"]), start_job(killed)
    end = time.monotonic() + 240
    while not (out / "checkpoints/step_000002").is_dir():
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert _weights_hash(_run(killed) / last) == _weights_hash(in_turn / last)
    assert _figures(out) == _figures(in_turn)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_generation_runs_ahead_and_every_token_knows_its_version(
    tiny_model: Path, tmp_path: Path
) -> None:
    settings = _settings(tiny_model, tmp_path, 2, deterministic=False)
    settings["num_steps"] = 6
    settings["rollout"] |= {"max_new_tokens": 64}
    out = _run(settings)
    steps = {row.step: row.metrics for row in train_rows(out)}
    assert sorted(steps) == list(range(1, 7))
    rows = read_rollouts(out).to_pylist()
    assert len({(r["step"], r["prompt_id"], r["sample"]) for r in rows}) == len(rows) == 6 * 4 * 4
    trained = [r["prompt_id"] for r in rows if r["sample"] == 0]
    assert len(set(trained)) == 24, "24 of 28 training prompts, each once"
    for metrics in steps.values():
        assert metrics["async/lag_max"] <= 2
        assert metrics["sync/max_logprob_gap"] < 1e-3
        assert 0.8 < metrics["policy/ratio"] < 1.25
    assert max(m["async/lag_max"] for m in steps.values()) >= 1
    mixed = [r for r in rows if r["token_versions"] is not None]
    assert mixed, "weights came in the middle of responses"
    for row in mixed:
        versions = np.array(row["token_versions"])
        assert len(versions) == len(row["token_ids"]) == len(row["logprobs"])
        assert (np.diff(versions) >= 0).all()
        assert row["policy_version"] <= versions[0] < versions[-1] <= row["step"] - 1
