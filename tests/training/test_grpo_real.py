"""Whole jobs as a user starts them: a tiny model, real Ray, real vLLM, processes killed for real."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from medray.storage.metrics_file import read_metrics
from medray.storage.rollout_files import read_rollouts
from medray.storage.run_folder import checkpoints
from tests.support.jobs import run_job, start_job, tiny_settings

pytestmark = pytest.mark.ray

TWO_OF_EACH = {
    "learner": {"count": 2, "cpus": 0.4}, "rollout": {"count": 2, "cpus": 0.4}, "reference": {"cpus": 0.4},
    "grader": {"count": 2, "cpus": 0},
}  # fmt: skip


def _weights_hash(checkpoint: Path) -> str:
    return hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()


def _untimed(folder: Path) -> list[Any]:
    return [row.untimed() for row in read_metrics(folder)]


def test_run_folder_of_two_ranks_two_engines_and_a_reference(
    tiny_model: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    settings = tiny_settings(
        tiny_model, tmp_path, workers=TWO_OF_EACH, algorithm={"kl": {"coef": 0.01}}
    )
    code, output = run_job(settings, "num_steps=3", "logging.tensorboard=true")
    assert code == 0, output
    out = Path(settings["out"])
    assert json.loads((out / "config.json").read_text())["num_steps"] == 3
    steps = [row for row in read_metrics(out) if row.kind == "train"]
    assert [row.step for row in steps] == [1, 2, 3]
    for row in steps:
        metrics = row.metrics
        assert metrics["sync/max_logprob_gap"] < 1e-3
        assert metrics["policy/kl_ref"] >= 0
        phases = [v for k, v in metrics.items() if k.startswith("time/") and k != "time/step_s"]
        assert sum(phases) == pytest.approx(metrics["time/step_s"], rel=1e-6)
    assert steps[0].metrics["policy/kl_ref"] < steps[-1].metrics["policy/kl_ref"], (
        "the policy moves away"
    )
    rollouts = read_rollouts(out).to_pylist()
    assert len(rollouts) == 3 * 4 * 4
    assert {r["policy_version"] for r in rollouts} == {0, 1, 2}
    assert {r["worker"] for r in rollouts} == {"rollout-0", "rollout-1"}
    assert len({(r["step"], r["prompt_id"], r["sample"]) for r in rollouts}) == len(rollouts)
    assert [c.name for c in checkpoints(out)] == ["step_000002", "step_000003"]
    assert AutoModelForCausalLM.from_pretrained(checkpoints(out)[-1]).config.vocab_size == 320
    assert (out / "report.html").is_file()
    assert any((out / "events").iterdir())
    assert "step 3/3" in output


def test_everything_an_algorithm_may_ask_for_at_once(tiny_model: Path, tmp_path: Path) -> None:
    """Greedy baselines, refills, the overlong penalty, and a correction over two steps a batch, on real workers."""
    algorithm = {
        "kind": "remax",
        "dynamic_sampling": True,
        "overlong": {"share": 0.5},
        "correction": {"kind": "tis"},
        "minibatches": 2,
    }
    settings = tiny_settings(tiny_model, tmp_path, algorithm=algorithm)
    code, output = run_job(settings)
    assert code == 0, output
    out = Path(settings["out"])
    steps = [row.metrics for row in read_metrics(out) if row.kind == "train"]
    assert len(steps) == 2
    for metrics in steps:
        assert 4 <= metrics["rollout/greedy_tokens"] <= 4 * 8
        assert 0 <= metrics["reward/greedy"] <= 1
        assert metrics["groups/rounds"] >= 1
        assert -1 <= metrics["reward/overlong_penalty"] < 0
        assert metrics["policy/correction_weight"] == pytest.approx(
            1, abs=1e-3
        )  # fp32 on both sides
        assert metrics["policy/correction_dropped"] == 0
    groups = sum(m["groups/total"] + m["groups/dropped"] for m in steps)
    rows = read_rollouts(out).to_pylist()
    assert len(rows) == groups * 4
    assert {r["step"] for r in rows} == {1, 2}


def test_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    undisturbed = tiny_settings(tiny_model, tmp_path / "a", num_steps=4, checkpoint={"every": 2})
    code, output = run_job(undisturbed)
    assert code == 0, output
    settings = tiny_settings(tiny_model, tmp_path / "b", num_steps=4, checkpoint={"every": 2})
    settings["data"] = undisturbed["data"]
    out = Path(settings["out"])
    process = start_job(settings)
    deadline = time.monotonic() + 240
    while not any(row.kind == "train" and row.step == 3 for row in _rows(out)):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    code, output = run_job(settings)
    assert code == 0, output
    assert "continued from step 2" in output
    last = [checkpoints(Path(s["out"]))[-1] for s in (undisturbed, settings)]
    assert [c.name for c in last] == ["step_000004"] * 2
    assert _weights_hash(last[0]) == _weights_hash(last[1])
    for name in ("trainer_state.tensors", "trainer_state.json"):
        assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes()
    assert _untimed(Path(undisturbed["out"])) == _untimed(out)


def _rows(out: Path) -> list[Any]:
    return read_metrics(out) if (out / "metrics.jsonl").is_file() else []


def test_lora_run_takes_its_base_as_the_reference(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    settings = tiny_settings(
        tiny_model, tmp_path, algorithm={"kl": {"coef": 0.1, "place": "reward"}}
    )
    settings["model"] |= {"lora": {"rank": 4}, "quantisation": "4bit"}
    settings["rollout"]["temperature"] = 0.8
    code, output = run_job(settings, "num_steps=3", "optim.lr=1e-2")
    assert code == 0, output
    steps = [row.metrics for row in read_metrics(Path(settings["out"])) if row.kind == "train"]
    assert abs(steps[0]["policy/kl_ref"]) < 1e-5, "an adapter begins as its base"
    assert steps[-1]["policy/kl_ref"] > 1e-4
    assert max(m["sync/max_logprob_gap"] for m in steps) < 1e-3
    last = checkpoints(Path(settings["out"]))[-1]
    assert (last / "adapter_model.safetensors").is_file()
    assert AutoModelForCausalLM.from_pretrained(last).config.vocab_size == 320
