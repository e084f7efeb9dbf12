"""GRPO as a user starts it: a tiny model, real Ray, real vLLM, processes killed for real."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from medray.storage.metrics_file import read_metrics
from medray.storage.rollout_files import read_rollouts
from medray.storage.run_folder import checkpoints
from tests.support.jobs import run_job, start_job, tiny_settings
from tests.support.running import actor_processes, train_rows, wait_for_step
from tests.support.tiny import save_tiny_model

pytestmark = pytest.mark.ray

TWO_OF_EACH = {
    "learner": {"count": 2, "cpus": 0.4}, "rollout": {"count": 2, "cpus": 0.4}, "reference": {"cpus": 0.4},
    "grader": {"count": 2, "cpus": 0},
}  # fmt: skip
STEPS = 12


@dataclass(frozen=True)
class Disturbed:
    """A run whose actors were killed, and whose folder was lost before it went on for one more step."""

    before: Path  # the folder as it was when it was lost
    copy: Path
    out: Path
    first_output: str
    last_output: str


def _kill(job: psutil.Process, actor: str) -> None:
    """SIGKILL the first process of the job that runs `actor`."""
    found = actor_processes(job, actor)
    assert found, f"no {actor} runs"
    found[0].kill()


@pytest.fixture(scope="module")
def disturbed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    """Two of each actor and a reference: a rollout worker, a grader and a learner rank die, then the machine does."""
    folder = tmp_path_factory.mktemp("disturbed")
    copy = folder / "storage" / "run"
    settings = tiny_settings(
        tiny_model, folder, workers=TWO_OF_EACH, algorithm={"kl": {"coef": 0.01}},
        checkpoint={"every": 2}, mirror=f"file://{copy}",
    )  # fmt: skip
    out = Path(settings["out"])
    process = start_job(settings, f"num_steps={STEPS}", "logging.tensorboard=true")
    job = psutil.Process(process.pid)
    for step, actor in ((2, "RolloutActor"), (4, "RewardActor"), (6, "LearnerActor")):
        wait_for_step(out, step, process)
        _kill(job, actor)
    first_output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, first_output
    shutil.move(out, folder / "before")
    code, last_output = run_job(settings, f"num_steps={STEPS + 1}")
    assert code == 0, last_output
    return Disturbed(folder / "before", copy, out, first_output, last_output)


@pytest.mark.timeout(600)
def test_the_run_folder_holds_what_a_run_was(disturbed: Disturbed) -> None:
    """Only this reads every file that two ranks, two engines and a reference leave behind."""
    from transformers import AutoModelForCausalLM

    out = disturbed.before
    assert json.loads((out / "config.json").read_text())["num_steps"] == STEPS
    steps = train_rows(out)
    assert [row.step for row in steps] == list(range(1, STEPS + 1))
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
    assert {r["policy_version"] for r in rollouts} == set(range(STEPS))
    assert {r["worker"] for r in rollouts} == {"rollout-0", "rollout-1"}
    assert [c.name for c in checkpoints(out)] == ["step_000010", "step_000012"]
    assert AutoModelForCausalLM.from_pretrained(checkpoints(out)[-1]).config.vocab_size == 320
    assert (out / "report.html").is_file()
    assert any((out / "events").iterdir())
    assert f"step {STEPS}/{STEPS}" in disturbed.first_output


def test_every_prompt_is_trained_once_whoever_dies(disturbed: Disturbed) -> None:
    """Only this kills a rollout worker, a grader and a learner rank of a real GRPO run."""
    out = disturbed.before
    assert "restarting from the last checkpoint" in disturbed.first_output
    rows = read_rollouts(out).to_pylist()
    assert len(rows) == STEPS * 4 * 4
    assert len({(r["step"], r["prompt_id"], r["sample"]) for r in rows}) == len(rows)
    epoch = [r["prompt_id"] for r in rows if r["step"] <= 7 and r["sample"] == 0]
    assert len(set(epoch)) == len(epoch) == 28, "28 training prompts, each once in the first epoch"
    incidents = [json.loads(line) for line in (out / "incidents.jsonl").read_text().splitlines()]
    deaths = [i["who"] for i in incidents if i["kind"] == "death"]
    assert any(who.startswith("rollout-") for who in deaths), incidents
    assert any(who.startswith("grader-") for who in deaths), incidents
    assert "learner" in deaths, incidents


def test_a_run_folder_that_is_lost_is_brought_back(disturbed: Disturbed) -> None:
    """Only this continues a real run from its copy on shared storage."""
    out, copy = disturbed.out, disturbed.copy
    assert f"continued from step {STEPS}" in disturbed.last_output
    assert [row.step for row in train_rows(out)] == list(range(1, STEPS + 2))
    assert [c.name for c in checkpoints(copy)] == ["step_000012", "step_000013"]
    rows = read_rollouts(copy).to_pylist()
    assert {r["step"] for r in rows} == set(range(1, STEPS + 2)), "each node copied what it wrote"
    unique = {(r["step"], r["prompt_id"], r["sample"]) for r in rows}
    assert len(unique) == len(rows) == (STEPS + 1) * 16
    for name in ("config.json", "metrics.jsonl", "startup.json", "memory.json", "report.html"):
        assert (copy / name).read_bytes() == (out / name).read_bytes()


def test_everything_an_algorithm_may_ask_for_at_once(tiny_model: Path, tmp_path: Path) -> None:
    """Only this has greedy baselines, refills, the overlong penalty, a correction over two steps a batch, and a
    teacher in the learner on real workers."""
    teacher = save_tiny_model(tmp_path / "teacher", seed=1)
    algorithm = {
        "kind": "remax",
        "dynamic_sampling": True,
        "overlong": {"share": 0.5},
        "correction": {"kind": "tis"},
        "minibatches": 2,
        "distill": {"teacher": {"path": str(teacher)}, "coef": 0.1},
    }
    settings = tiny_settings(tiny_model, tmp_path, algorithm=algorithm)
    code, output = run_job(settings)
    assert code == 0, output
    out = Path(settings["out"])
    steps = [row.metrics for row in train_rows(out)]
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
        assert metrics["distill/divergence"] > 0.01
    groups = sum(m["groups/total"] + m["groups/dropped"] for m in steps)
    rows = read_rollouts(out).to_pylist()
    assert len(rows) == groups * 4
    assert {r["step"] for r in rows} == {1, 2}


def _weights_hash(checkpoint: Path) -> str:
    return hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()


def _untimed(folder: Path) -> list[Any]:
    return [row.untimed() for row in read_metrics(folder)]


@pytest.mark.slow
def test_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    tiny_model: Path, tmp_path: Path
) -> None:
    """The same of PPO, which has all of GRPO's state and the critic's, is in test_ppo_real and not slow."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    undisturbed = tiny_settings(tiny_model, tmp_path / "a", num_steps=4, checkpoint={"every": 2})
    code, output = run_job(undisturbed)
    assert code == 0, output
    settings = tiny_settings(tiny_model, tmp_path / "b", num_steps=4, checkpoint={"every": 2})
    settings["data"] = undisturbed["data"]
    out = Path(settings["out"])
    process = start_job(settings)
    wait_for_step(out, 3, process)
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
