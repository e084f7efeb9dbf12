"""PPO as a user starts it: tiny models, real Ray, real vLLM, processes killed for real."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from medray.storage.metrics_file import read_metrics
from medray.storage.rollout_files import read_rollouts
from medray.storage.run_folder import checkpoints
from tests.support.jobs import run_job, start_job, tiny_settings
from tests.support.tiny import save_tiny_model
from tests.support.tiny_reward import save_tiny_reward_adapter, save_tiny_reward_model

pytestmark = pytest.mark.ray

ROLES = ("learner", "critic", "rollout", "reference", "reward")
TWO_OF_EACH: dict[str, Any] = {
    **{role: {"count": 2, "cpus": 0.2} for role in ROLES},
    "grader": {"count": 2, "cpus": 0},
}


@pytest.fixture(scope="module")
def reward_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_reward_model(tiny_model, tmp_path_factory.mktemp("rm") / "rm")


def _settings(model: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    workers = {role: {"cpus": 0.3} for role in ROLES} | {"grader": {"cpus": 0}}
    settings = tiny_settings(model, folder, workers=workers, critic={"optim": {"lr": 1e-3}})
    settings["rollout"] |= {"prompts_per_step": 4, "samples_per_prompt": 2}
    return settings | changes


def test_four_models_of_two_sizes_on_two_ranks_each(
    tiny_model: Path, reward_model: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    small = save_tiny_model(tmp_path / "small", seed=3, num_layers=1)
    algorithm = {
        "kl": {"coef": 0.1, "target": 1.0},
        "shaping": {"normalise": "standardise", "clip": 3.0, "missing_eos_penalty": 0.5},
        "entropy_coef": 0.01,
    }
    rewards = [
        {"kind": "tests.support.rewards:EvenBytes", "weight": 0.5},
        {"kind": "model", "options": {"model": {"path": str(reward_model)}}},
    ]
    critic = {"model": {"path": str(small)}, "optim": {"lr": 1e-3}, "warmup_steps": 1}
    settings = _settings(
        tiny_model,
        tmp_path,
        workers=TWO_OF_EACH,
        algorithm=algorithm,
        rewards=rewards,
        critic=critic,
    )
    code, output = run_job(settings, "num_steps=3", job="ppo")
    assert code == 0, output
    out = Path(settings["out"])
    steps = [row.metrics for row in read_metrics(out) if row.kind == "train"]
    assert len(steps) == 3
    assert "optim/grad_norm" not in steps[0], "the critic warms up alone"
    for metrics in steps:
        assert metrics["sync/max_logprob_gap"] < 1e-3
        mixed = 0.5 * metrics["reward/EvenBytes/score"] + metrics["reward/model/score"]
        assert metrics["reward/mean"] == pytest.approx(mixed, abs=1e-6)
    assert abs(steps[1]["policy/kl_ref_sequence"]) < 1e-3, "it has not moved yet"
    assert steps[1]["policy/kl_coef"] == pytest.approx(0.1 * 0.98), "below target by all its bound"
    assert steps[1]["policy/entropy_exact"] > 1
    rollouts = read_rollouts(out).to_pylist()
    assert len(rollouts) == 3 * 4 * 2
    last = checkpoints(out)[-1]
    assert AutoModelForCausalLM.from_pretrained(last).config.num_hidden_layers == 2
    critic_folder = out / "critic" / "checkpoints" / last.name
    loaded = AutoModelForSequenceClassification.from_pretrained(critic_folder)
    assert loaded.config.num_hidden_layers == 1
    assert loaded.config.num_labels == 1


def test_four_roles_on_one_base_and_a_resumed_run(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    rewards = [
        {"kind": "tests.support.rewards:EvenBytes"},
        {
            "kind": "model",
            "options": {
                "model": {"path": str(save_tiny_reward_adapter(tiny_model, tmp_path / "rm"))}
            },
        },
    ]
    settings = _settings(
        tiny_model, tmp_path, roles={"layout": "shared"}, rewards=rewards,
        algorithm={"kl": {"coef": 0.1}}, optim={"lr": 1e-2},
    )  # fmt: skip
    settings["model"] |= {"lora": {"rank": 4}}
    settings["workers"]["learner"] |= {"count": 2}
    code, output = run_job(settings, "num_steps=2", job="ppo")
    assert code == 0, output
    assert "2 learner, 1 rollout, 1 grader" in output
    code, output = run_job(settings, "num_steps=3", job="ppo")
    assert code == 0, output
    assert "continued from step 2" in output
    out = Path(settings["out"])
    steps = [row.metrics for row in read_metrics(out) if row.kind == "train"]
    assert len(steps) == 3
    assert abs(steps[0]["policy/kl_ref_sequence"]) < 1e-4, "adapters begin as their base"
    assert abs(steps[2]["policy/kl_ref_sequence"]) > 1e-4
    for metrics in steps:
        assert metrics["sync/max_logprob_gap"] < 1e-3
        assert metrics["reward/mean"] == pytest.approx(
            metrics["reward/EvenBytes/score"] + metrics["reward/model/score"], abs=1e-6
        )
        assert metrics["critic/grad_norm"] > 0
        assert metrics["optim/grad_norm"] > 0, "both models of a rank report"
    last = checkpoints(out)[-1]
    assert AutoModelForCausalLM.from_pretrained(last).config.vocab_size == 320
    assert (out / "critic" / "checkpoints" / last.name / "adapter_model.safetensors").is_file()


def test_models_split_over_ranks_sample_ahead_and_go_on_from_a_mirror(
    tiny_model: Path, tmp_path: Path
) -> None:
    settings = _settings(
        tiny_model, tmp_path, algorithm={"kl": {"coef": 0.1}}, learner={"strategy": "fsdp2"},
        deterministic=False, mirror=f"file://{tmp_path / 'copy'}",
    )  # fmt: skip
    settings["rollout"] |= {"max_lag": 1}
    for role in ("learner", "critic"):
        settings["workers"][role] |= {"count": 2}
    code, output = run_job(settings, "num_steps=2", job="ppo")
    assert code == 0, output
    out = Path(settings["out"])
    assert "critic rank 1" in json.loads((out / "memory.json").read_text())["measured"]
    shutil.rmtree(out)
    code, output = run_job(settings, "num_steps=4", job="ppo")
    assert code == 0, output
    assert "continued from step 2" in output
    steps = [row.metrics for row in read_metrics(out) if row.kind == "train"]
    assert len(steps) == 4
    for metrics in steps:
        assert metrics["async/lag_max"] <= 1
        assert metrics["critic/grad_norm"] > 0
        assert metrics["optim/grad_norm"] > 0
        assert metrics["sync/max_logprob_gap"] < 1e-3
    for folder in (out / "critic", tmp_path / "copy" / "critic"):
        assert [p.name for p in checkpoints(folder)][-1] == "step_000004"


def test_killed_run_ends_with_what_an_undisturbed_one_has(tiny_model: Path, tmp_path: Path) -> None:
    algorithm = {
        "kl": {"coef": 0.1, "target": 0.5},
        "shaping": {"normalise": "standardise"},
        "epochs": 2,
        "minibatches": 2,
    }
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        runs.append(
            _settings(
                tiny_model,
                tmp_path / name,
                num_steps=4,
                checkpoint={"every": 2},
                algorithm=algorithm,
            )
        )
    runs[1]["data"] = runs[0]["data"]
    code, output = run_job(runs[0], job="ppo")
    assert code == 0, output
    out = Path(runs[1]["out"])
    process = start_job(runs[1], job="ppo")
    deadline = time.monotonic() + 240
    while not any(row.kind == "train" and row.step == 3 for row in _rows(out)):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    code, output = run_job(runs[1], job="ppo")
    assert code == 0, output
    assert "continued from step 2" in output
    undisturbed, resumed = (Path(run["out"]) for run in runs)
    for folder in ("", "critic"):
        first, second = (checkpoints(run / folder)[-1] for run in (undisturbed, resumed))
        assert first.name == second.name == "step_000004"
        for name in ("model.safetensors", "trainer_state.tensors", "trainer_state.json"):
            assert (first / name).read_bytes() == (second / name).read_bytes(), (folder, name)
    untimed = [[row.untimed() for row in read_metrics(run)] for run in (undisturbed, resumed)]
    assert untimed[0] == untimed[1]


def _rows(out: Path) -> list[Any]:
    return read_metrics(out) if (out / "metrics.jsonl").is_file() else []


def test_a_dead_reward_model_costs_its_groups_and_a_dead_critic_the_steps_since_a_checkpoint(
    tiny_model: Path, reward_model: Path, tmp_path: Path
) -> None:
    import psutil

    rewards = [{"kind": "model", "options": {"model": {"path": str(reward_model)}}}]
    settings = _settings(
        tiny_model, tmp_path, num_steps=8, checkpoint={"every": 2}, rewards=rewards
    )
    out = Path(settings["out"])
    process = start_job(settings, job="ppo")
    children = psutil.Process(process.pid).children
    for step, actor in ((2, "RewardActor"), (4, "CriticActor")):
        deadline = time.monotonic() + 200
        while not any(row.kind == "train" and row.step >= step for row in _rows(out)):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        found = [p for p in children(recursive=True) if p.name().startswith(f"ray::{actor}"[:15])]
        assert found, f"no {actor} runs"
        for one in found:
            one.kill()
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 0, output
    assert "starting again from the last checkpoint" in output
    steps = [row.step for row in read_metrics(out) if row.kind == "train"]
    assert steps == list(range(1, 9))
    rollouts = read_rollouts(out).to_pylist()
    assert len({(r["step"], r["prompt_id"], r["sample"]) for r in rollouts}) == len(rollouts) == 64
