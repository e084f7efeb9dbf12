"""The arithmetic of a plan, what does not fit, and what is proposed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from medray.config.grpo import GrpoJob
from medray.config.model import LoraConfig, ModelConfig
from medray.config.ppo import PpoJob
from medray.config.sft import SftJob
from medray.models.load import load_policy
from medray.planning.machine import Machine, given_machine
from medray.planning.plan import plan_job
from medray.planning.propose import assess
from medray.planning.shape import activation_bytes, hf_config, model_shape
from medray.planning.table import table
from medray.planning.tokens import RowSize, largest_row
from medray.system.units import GIB
from tests.support.command import medray_here
from tests.support.jobs import tiny_settings

ROOT = Path(__file__).parents[2]
SMALL_GPU = Machine(64 * GIB, 24 * GIB, 1, 16)


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4), LoraConfig(rank=4, dora=True)])
def test_parameters_are_those_of_the_loaded_model(
    tiny_model: Path, lora: LoraConfig | None
) -> None:
    config = ModelConfig(path=str(tiny_model), lora=lora)
    policy = load_policy(config)

    shape = model_shape(hf_config(config), config)

    assert shape.num_trained == sum(p.numel() for _, p in policy.trainable())
    assert shape.num_params == sum(
        p.numel() for p in AutoModelForCausalLM.from_pretrained(tiny_model).parameters()
    )
    assert shape.tied


def test_activations_are_the_tensors_that_autograd_keeps(tiny_model: Path) -> None:
    """The dry run against a real forward pass of the same row on the CPU."""
    from medray.data.batches.packing import build_row
    from tests.support.objectives import dialogues

    config = ModelConfig(path=str(tiny_model))
    policy = load_policy(config)
    [tree] = dialogues(0)[:1]
    row = build_row([tree], whole=True, merge=False)
    own = {p.untyped_storage().data_ptr() for p in policy.module.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy.hidden_states(row)
    real = sum(storage.nbytes() for storage in kept.values())
    found = activation_bytes(
        hf_config(config), config, RowSize(1, 0, 1, tree.num_tokens, False), "float32"
    )

    assert found.outside + 2 * found.per_layer == pytest.approx(real, rel=0.03)


def test_more_memory_with_everything_that_costs_memory(tiny_model: Path) -> None:
    def learner(**changes: Any) -> int:
        settings = {"model": {"path": str(tiny_model)}, "batch": {"rows_per_step": 4}} | changes
        return plan_job(SftJob.model_validate(settings)).roles[0].memory.device_bytes

    plain = learner()
    assert learner(model={"path": str(tiny_model), "gradient_checkpointing": True}) < plain
    assert learner(learner={"row_tokens": 8192}, chat={"max_tokens": 8192}) > plain


def test_the_largest_row_of_rl_is_made_of_whole_groups(tiny_model: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_model, tmp_path)
    job = GrpoJob.model_validate(settings | {"learner": {"row_tokens": 4096}})
    row = largest_row(job)  # a group: 1024 prompt tokens, 4 responses of 8
    assert (row.num_groups, row.branches, row.num_tokens) == (3, 4, 3 * 1056)
    tight = GrpoJob.model_validate(settings | {"learner": {"row_tokens": 1040}})
    assert largest_row(tight) == RowSize(1, 1024, 2, 8, True)


def test_ppo_is_planned_role_by_role(tiny_model: Path, tmp_path: Path) -> None:
    """Four models of their own, or one base with adapters."""
    reward = {"kind": "model", "options": {"model": {"path": str(tiny_model)}}}
    settings = tiny_settings(tiny_model, tmp_path, rewards=[reward])
    settings["workers"] |= {
        "critic": {"count": 2},
        "reference": {"count": 3},
        "reward": {"count": 2},
    }

    plan = plan_job(PpoJob.model_validate(settings))

    counts = {role.name: role.count for role in plan.roles}
    assert counts == {
        "learner": 1, "rollout": 1, "critic": 2, "reference": 3, "reward": 2, "grader": 1
    }  # fmt: skip
    parts = {role.name: role.memory.parts for role in plan.roles}
    assert parts["critic"]["optimizer"] > 0.9 * parts["learner"]["optimizer"]
    assert parts["critic"]["logits"] < parts["learner"]["logits"]
    assert "optimizer" not in parts["reward"]

    settings["model"] |= {"lora": {"rank": 4}}
    shared = plan_job(PpoJob.model_validate(settings | {"roles": {"layout": "shared"}}))

    assert {role.name for role in shared.roles} == {"learner", "rollout", "grader"}
    [learner] = [role.memory.parts for role in shared.roles if role.name == "learner"]
    assert learner["critic"] == 4 * learner["reward adapters"] > 0


def test_a_learner_that_splits_its_state_is_planned_so(tiny_model: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_model, tmp_path)
    settings["workers"]["learner"] |= {"count": 2}
    plain, split = (
        plan_job(GrpoJob.model_validate(settings | {"learner": {"strategy": strategy}}))
        .roles[0]
        .memory.parts
        for strategy in ("ddp", "fsdp2")
    )
    for part in ("weights", "optimizer"):
        assert split[part] == pytest.approx(plain[part] / 2, rel=0.01)


def _qwen(tmp_path: Path, **changes: Any) -> SftJob:
    """A job on a model of 7B, of which there is no more than the configuration."""
    from medray.planning.table import SIZES

    folder = tmp_path / "qwen"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"} | SIZES["7B"]))
    model = {"path": str(folder), "dtype": "bfloat16", "device": "cuda"} | changes
    return SftJob.model_validate({"model": model, "workers": {"learner": {"gpus": 1}}})


def test_what_cannot_fit_is_refused_and_what_would_fit_is_proposed(tmp_path: Path) -> None:
    job = _qwen(tmp_path)

    report = assess(job, plan_job(job, SMALL_GPU.gpu_bytes), SMALL_GPU)

    assert not report.fits
    assert report.problems[0].startswith("learner: 1")  # more than 100 GiB
    assert any("model.lora" in p for p in report.proposals)
    for proposal in report.proposals:  # each is known to fit
        changes = proposal.partition("  (")[0].split()
        from medray.config.loader import load_config

        path = tmp_path / "sft.yaml"
        path.write_text(json.dumps(job.model_dump(mode="json")))
        changed = load_config(SftJob, path, changes)
        assert assess(changed, plan_job(changed, SMALL_GPU.gpu_bytes), SMALL_GPU).fits


def test_a_job_that_fits_has_nothing_to_change(tmp_path: Path) -> None:
    job = _qwen(tmp_path, lora={}, quantisation="4bit", gradient_checkpointing=True)

    report = assess(job, plan_job(job, SMALL_GPU.gpu_bytes), SMALL_GPU)

    assert report.fits
    assert report.proposals == ()


def test_the_table_grows_with_size_and_shrinks_with_each_saving() -> None:
    rows = list(table(2048, ("0.5B", "7B")))
    for row in rows:
        full, lora, eight, four = row.gib.values()
        assert full > lora > eight > four
    assert rows[1].num_params == pytest.approx(7.6e9, rel=0.01)
    assert rows[1].gib["full"] > 18 * 7.6e9 / GIB > 100  # masters, gradients, Adam and half copies


def test_machines_can_be_given() -> None:
    assert given_machine("memory=64,gpu=80,gpus=8,cores=32,nodes=2") == Machine(
        64 * GIB, 80 * GIB, 8, 32, 2
    )


def test_the_command_refuses_with_exit_code_3(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "grpo_tiny.yaml"
    path.write_text(json.dumps(tiny_settings(tiny_model, tmp_path)))

    small = medray_here("plan", str(path), "--machine", "memory=1,cores=2")
    large = medray_here("plan", str(path), "--machine", "memory=64,cores=2", "--json")

    assert small.code == 3
    assert "host memory" in small.stderr.splitlines()[-1]
    assert large.code == 0, large.stderr
    plan = json.loads(large.stdout)
    assert set(plan["roles"]) == {"learner", "rollout", "grader"}
    assert plan["fits"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "pass a job's YAML"),
        (["cluster.yaml"], "does not start with the name of a job"),
        (["jobs/configs/evaluate_pipeline_cpu.yaml"], "is not a training job"),
        (["jobs/configs/generate_smollm2_cpu.yaml"], "is not a training job"),
        (["jobs/configs/grpo_smollm2_cpu.yaml", "--machine", "memory=lots"], "is not a number"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    done = medray_here("plan", *arguments)
    assert done.code == 2
    assert words in done.stderr.splitlines()[-1]
