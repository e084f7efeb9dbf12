"""GPUs of an RL job: what cannot start, or would leave GPUs idle, is refused with its remedy."""

from __future__ import annotations

import pytest

from medray.config.grpo import GrpoJob
from medray.config.loader import load_config
from medray.config.ppo import PpoJob
from medray.config.resources import rl_roles
from medray.errors import ConfigError

CUDA = ["model.device=cuda", "workers.learner.gpus=1", "workers.rollout.gpus=1"]
SHARED = [
    "model.device=cuda",
    "workers.colocate=true",
    "workers.learner.gpus=0.5",
    "workers.rollout.gpus=0.5",
]


@pytest.mark.parametrize(
    ("schema", "overrides", "message"),
    [
        (GrpoJob, ["rollout.engine.tensor_parallel=2"], "set model.device=cuda, or rollout.engine.tensor_parallel=1"),
        (GrpoJob, [*CUDA, "workers.rollout.gpus=0"], "needs workers.rollout.gpus > 0"),
        (GrpoJob, [*CUDA, "workers.learner.gpus=0"], "needs workers.learner.gpus > 0"),
        (GrpoJob, [*CUDA, "workers.learner.gpus=2"], "workers.learner.gpus=2: a process computes on one GPU"),
        (GrpoJob, [*CUDA, "rollout.engine.tensor_parallel=4"], "tensor_parallel=4 uses 4 GPUs of one node"),
        (GrpoJob, [*CUDA, "workers.rollout.gpus=2"], "tensor_parallel=1 uses 1 GPU of one node"),
        (GrpoJob, [*CUDA, "algorithm.kl.coef=0.1"], "the reference on cuda needs workers.reference.gpus > 0"),
        (PpoJob, [*CUDA, "algorithm.kl.coef=0"], "the critic on cuda needs workers.critic.gpus > 0"),
        (GrpoJob, [*CUDA, "sync.backend=ipc"], "set workers.colocate=true, or sync.backend=nccl"),
        (GrpoJob, [*CUDA, "workers.colocate=true"], "exceed 1: set both to 0.5"),
        (GrpoJob, [*SHARED, "sync.backend=nccl"], "set sync.backend=ipc or object_store"),
        (GrpoJob, [*SHARED, "workers.rollout.count=2"], "set both to the number of GPUs"),
        (GrpoJob, [*SHARED, "workers.rollout.count=2", "workers.learner.count=2", "sync.backend=ipc"],
         "sync.backend=ipc sends from one rank"),
        (GrpoJob, [*SHARED, "workers.rollout.gpus=2", "rollout.engine.tensor_parallel=2"],
         "set it to 1, or workers.colocate=false"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(
    schema: type[GrpoJob | PpoJob], overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(schema, overrides=overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "overrides"),
    [
        (GrpoJob, CUDA),
        (GrpoJob, [*CUDA, "workers.rollout.gpus=4", "rollout.engine.tensor_parallel=4"]),
        (
            GrpoJob,
            [*CUDA, "algorithm.kl.coef=0.1", "model.lora={}"],
        ),  # the learner is the reference
        (GrpoJob, [*CUDA, "sync.backend=nccl"]),
        (GrpoJob, [*SHARED, "sync.backend=ipc"]),
        (GrpoJob, [*SHARED, "workers.learner.count=4", "workers.rollout.count=4"]),
        (PpoJob, [*CUDA, "workers.critic.gpus=1", "workers.reference.gpus=1"]),
        (PpoJob, [*CUDA, "roles.layout=shared", "model.lora={}"]),
    ],
)
def test_what_can_work_is_accepted(schema: type[GrpoJob | PpoJob], overrides: list[str]) -> None:
    job = load_config(schema, overrides=overrides)
    with_models = {role.name for role in rl_roles(job)} - {"rollout", "reward", "grader"}
    assert with_models == set(job.model_devices)
