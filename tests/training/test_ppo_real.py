"""PPO as a user starts it: tiny models, real Ray, real vLLM, processes killed for real."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from medray.storage.metrics_file import read_metrics
from medray.storage.rollout_files import read_rollouts
from medray.storage.run_folder import checkpoints, step_of
from tests.support.jobs import run_job, start_job, tiny_settings
from tests.support.running import actor_processes, train_rows, wait_for_step
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


def _computed(folder: Path) -> list[dict[str, float]]:
    """The metrics of every row but its times and what befell its processes: two runs' own, not their results."""
    rows = (row.untimed() for row in read_metrics(folder))
    return [{name: row[name] for name in row if not name.startswith("incidents/")} for row in rows]


@pytest.mark.timeout(600)
def test_four_models_of_two_sizes_split_over_ranks_and_sampling_ahead(
    tiny_model: Path, reward_model: Path, tmp_path: Path
) -> None:
    """Only this runs two of each of PPO's actors, splits policy and critic over ranks, and samples ahead."""
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
        tiny_model, tmp_path, workers=TWO_OF_EACH, algorithm=algorithm, rewards=rewards, critic=critic,
        learner={"strategy": "fsdp2"}, deterministic=False,
    )  # fmt: skip
    settings["rollout"] |= {"max_lag": 1}
    code, output = run_job(settings, "num_steps=3", job="ppo")
    assert code == 0, output
    out = Path(settings["out"])
    measured = json.loads((out / "memory.json").read_text())["measured"]
    assert "critic rank 1" in measured
    steps = [row.metrics for row in train_rows(out)]
    assert len(steps) == 3
    assert "optim/grad_norm" not in steps[0], "the critic warms up alone"
    for metrics in steps:
        assert metrics["sync/max_logprob_gap"] < 1e-3
        assert metrics["async/lag_max"] <= 1
        assert metrics["critic/grad_norm"] > 0
        mixed = 0.5 * metrics["reward/EvenBytes/score"] + metrics["reward/model/score"]
        assert metrics["reward/mean"] == pytest.approx(mixed, abs=1e-6)
    assert max(metrics["async/lag_max"] for metrics in steps) == 1, "generation ran ahead"
    assert all(metrics["optim/grad_norm"] > 0 for metrics in steps[1:])
    assert abs(steps[1]["policy/kl_ref_sequence"]) < 1e-3, "it has not moved yet"
    assert steps[1]["policy/kl_coef"] == pytest.approx(0.1 * 0.98), "below target by all its bound"
    assert steps[1]["policy/entropy_exact"] > 1
    rollouts = read_rollouts(out).to_pylist()
    assert (
        len({(r["step"], r["prompt_id"], r["sample"]) for r in rollouts})
        == len(rollouts)
        == 3 * 4 * 2
    )
    last = checkpoints(out)[-1]
    assert AutoModelForCausalLM.from_pretrained(last).config.num_hidden_layers == 2
    critic_folder = out / "critic" / "checkpoints" / last.name
    loaded = AutoModelForSequenceClassification.from_pretrained(critic_folder)
    assert loaded.config.num_hidden_layers == 1
    assert loaded.config.num_labels == 1


def _shared(tiny_model: Path, folder: Path) -> dict[str, Any]:
    """Four roles on one base, two ranks of it."""
    reward = {"model": {"path": str(save_tiny_reward_adapter(tiny_model, folder / "rm"))}}
    settings = _settings(
        tiny_model, folder, roles={"layout": "shared"}, algorithm={"kl": {"coef": 0.1}}, optim={"lr": 1e-2},
        rewards=[{"kind": "tests.support.rewards:EvenBytes"}, {"kind": "model", "options": reward}],
    )  # fmt: skip
    settings["model"] |= {"lora": {"rank": 4}}
    settings["workers"]["learner"] |= {"count": 2}
    return settings


def _check_shared(out: Path) -> None:
    from transformers import AutoModelForCausalLM

    steps = [row.metrics for row in train_rows(out)]
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


def test_four_roles_on_one_base(tiny_model: Path, tmp_path: Path) -> None:
    """Only this has policy, critic, reference and reward model as adapters of one base on real ranks."""
    settings = _shared(tiny_model, tmp_path)
    code, output = run_job(settings, "num_steps=3", job="ppo")
    assert code == 0, output
    assert "2 learner, 1 rollout, 1 grader" in output
    _check_shared(Path(settings["out"]))


@pytest.mark.slow
def test_four_roles_on_one_base_and_a_resumed_run(tiny_model: Path, tmp_path: Path) -> None:
    """Only this resumes the shared layout through its actors; that its adapters load is in test_shared_base."""
    settings = _shared(tiny_model, tmp_path)
    code, output = run_job(settings, "num_steps=2", job="ppo")
    assert code == 0, output
    code, output = run_job(settings, "num_steps=3", job="ppo")
    assert code == 0, output
    assert "continued from step 2" in output
    _check_shared(Path(settings["out"]))


@pytest.mark.slow
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
    steps = [row.metrics for row in train_rows(out)]
    assert len(steps) == 4
    assert max(metrics["async/lag_max"] for metrics in steps) == 1, "generation ran ahead"
    for metrics in steps:
        assert metrics["critic/grad_norm"] > 0
        assert metrics["optim/grad_norm"] > 0
        assert metrics["sync/max_logprob_gap"] < 1e-3
    for folder in (out / "critic", tmp_path / "copy" / "critic"):
        assert [p.name for p in checkpoints(folder)][-1] == "step_000004"


@pytest.mark.timeout(900)
def test_a_run_whose_processes_die_ends_with_what_an_undisturbed_one_has(
    tiny_model: Path, reward_model: Path, tmp_path: Path
) -> None:
    """Only this compares a whole run, killed with SIGKILL and resumed, bit for bit: weights, optimizers, every
    state and metric of policy and critic. A dead reward model and a dead critic come before the kill, and the run
    folder is lost after it: policy and critic come back from the mirror."""
    algorithm = {
        "kl": {"coef": 0.1, "target": 0.5},
        "shaping": {"normalise": "standardise"},
        "epochs": 2,
        "minibatches": 2,
    }
    rewards = [{"kind": "model", "options": {"model": {"path": str(reward_model)}}}]
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        settings = _settings(
            tiny_model, tmp_path / name, num_steps=10, checkpoint={"every": 2}, algorithm=algorithm,
            rewards=rewards,
        )  # fmt: skip
        runs.append(settings)
    runs[1] |= {"data": runs[0]["data"], "mirror": f"file://{tmp_path / 'copy'}"}
    code, output = run_job(runs[0], job="ppo")
    assert code == 0, output
    out = Path(runs[1]["out"])
    process = start_job(runs[1], job="ppo")
    job = psutil.Process(process.pid)
    for step, actor in ((2, "RewardActor"), (4, "CriticActor")):
        wait_for_step(out, step, process)
        found = actor_processes(job, actor)
        assert found, f"no {actor} runs"
        for one in found:
            one.kill()
    wait_for_step(out, 7, process)
    process.kill()
    output, _ = process.communicate(timeout=120)
    assert "restarting from the last checkpoint" in output
    last = step_of(checkpoints(tmp_path / "copy")[-1])
    assert 6 <= last < 10
    before = [row for row in read_rollouts(out).to_pylist() if row["step"] <= last]
    shutil.rmtree(out)
    code, output = run_job(runs[1], job="ppo")
    assert code == 0, output
    assert f"continued from step {last}" in output
    assert checkpoints(tmp_path / "copy" / "critic")[-1].name == "step_000010"
    undisturbed, resumed = (Path(run["out"]) for run in runs)
    for folder in ("", "critic"):
        first, second = (checkpoints(run / folder)[-1] for run in (undisturbed, resumed))
        assert first.name == second.name == "step_000010"
        for name in ("model.safetensors", "trainer_state.tensors", "trainer_state.json"):
            assert (first / name).read_bytes() == (second / name).read_bytes(), (folder, name)
    assert _computed(undisturbed) == _computed(resumed)
    rollouts = before + read_rollouts(out).to_pylist()  # the mirror holds none
    assert len({(r["step"], r["prompt_id"], r["sample"]) for r in rollouts}) == len(rollouts) == 80
