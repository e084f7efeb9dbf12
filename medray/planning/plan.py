"""A job's memory, role by role."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from medray.config.base import Section
from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.config.ppo import PpoJob
from medray.config.resources import rl_roles
from medray.config.reward import by_role
from medray.config.rl import RlJob
from medray.config.supervised import SupervisedJob
from medray.planning.engine import engine_memory
from medray.planning.memory import (
    MIB,
    RUNTIME_MIB,
    ProcessMemory,
    forward_memory,
    learner_memory,
)
from medray.planning.shape import BYTES, ModelShape, activation_bytes, hf_config, model_shape
from medray.planning.tokens import RowSize, largest_row

RAY_BYTES = 700 * MIB  # Ray's own processes and the driver, on the head node


@dataclass(frozen=True)
class RolePlan:
    """One kind of process of the job."""

    name: str
    count: int
    memory: ProcessMemory
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """All roles, and what lives beside them."""

    roles: tuple[RolePlan, ...]
    row: RowSize
    device: str
    object_store_bytes: int  # weights on their way and rollouts, in shared memory
    ray_bytes: int = RAY_BYTES

    @property
    def host_bytes(self) -> int:
        """Memory of the machines, all roles and Ray together."""
        own = [
            r.count * (r.memory.host_bytes if self.device == "cuda" else r.memory.device_bytes)
            for r in self.roles
        ]
        return sum(own) + self.object_store_bytes + self.ray_bytes

    @property
    def gpu_bytes(self) -> dict[str, int]:
        """Bytes of a GPU that one process of each role takes."""
        return {r.name: r.memory.device_bytes for r in self.roles} if self.device == "cuda" else {}


def plan_job(job: Section, gpu_bytes: int | None = None, *, row: RowSize | None = None) -> Plan:
    """Predict the memory of every process of a job.

    Args:
        job: an RL or a supervised job.
        gpu_bytes: memory of one GPU, which an engine fills up; None takes what it needs.
        row: the largest one that a learner computes; None takes what the settings allow.

    Raises:
        ModelError: the model's configuration cannot be read.
    """
    if isinstance(job, RlJob):
        return _plan_rl(job, gpu_bytes, row or largest_row(job))
    assert isinstance(job, SupervisedJob), f"no plan for a {type(job).__name__}"
    model: Any = job.model  # type: ignore[attr-defined]
    num_ranks, row = job.workers.learner.count, row or largest_row(job)
    memory = _trained(model, row, job.learner, num_ranks)
    roles = (RolePlan("learner", num_ranks, memory),)
    return Plan(roles, row, model.device, 0)


def _plan_rl(job: RlJob, gpu_bytes: int | None, row: RowSize) -> Plan:
    model = job.model
    shape = model_shape(hf_config(model), model)
    engine = engine_memory(job, shape, gpu_bytes)
    learner = _trained(model, row, job.learner, job.workers.learner.count)
    if job.algorithm.distill is not None and not job.algorithm.is_taught_by_engines:
        learner = _with_teacher(learner, job.algorithm.distill.teacher)
    notes = {"rollout": f"KV cache for {engine.num_sequences} sequences of the greatest length"}
    if isinstance(job, PpoJob) and job.is_shared:
        learner = _with_adapters(learner, shape, job)
        notes["learner"] = "policy, critic, reward models and reference on one base"
    plans: list[RolePlan] = []
    for role in rl_roles(job):
        if role.name == "learner":
            memory = learner
        elif role.name == "rollout":
            memory = engine.process
        elif role.name == "critic":
            assert isinstance(job, PpoJob)
            num_ranks = job.workers.critic.count
            own = largest_row(job, num_ranks)
            memory = _trained(job.critic_model, own, job.learner, num_ranks, scores=True)
        elif role.name == "reference":
            memory = forward_memory(shape, row, model, job.learner)
        elif role.name == "teacher":
            memory = _teacher_engine(job, gpu_bytes)
        elif role.name == "reward":
            memory = _reward_models(job, row)
        else:  # graders compute on the CPU
            runtime = {"runtime": RUNTIME_MIB["grader"] * MIB}
            memory = (
                ProcessMemory({}, runtime) if model.device == "cuda" else ProcessMemory(runtime)
            )
        note = notes.get(role.name, "")
        plans.append(RolePlan(role.name, role.workers.count, memory, note))
    store = 0
    if job.sync.backend == "object_store":
        store = 2 * shape.num_params * BYTES[model.dtype]  # the version served, and the next
    return Plan(tuple(plans), row, model.device, store)


def _trained(
    model: ModelConfig,
    row: RowSize,
    learner: LearnerConfig,
    num_ranks: int,
    *,
    scores: bool = False,
) -> ProcessMemory:
    """One rank of a model in training; `scores`: its output head is a scalar one."""
    own = hf_config(model)
    shape = model_shape(own, model)
    return learner_memory(
        _with_scalar_head(shape) if scores else shape,
        activation_bytes(own, model, row, model.dtype),
        row,
        model,
        learner,
        strategy=learner.resolved(num_ranks),
        ranks=num_ranks,
        offload=learner.offload_optimizer,
    )


def _with_scalar_head(shape: ModelShape) -> ModelShape:
    lost = 0 if shape.tied else shape.num_head
    full = shape.num_trained == shape.num_params
    return replace(
        shape,
        num_params=shape.num_params - lost + shape.hidden,
        num_trained=shape.num_trained - (lost if full else 0) + shape.hidden,
        num_head=shape.hidden,
        vocabulary=1,
    )


def _with_adapters(learner: ProcessMemory, shape: ModelShape, job: PpoJob) -> ProcessMemory:
    """A rank that holds a second adapter in training, and one more for each reward model."""
    adapter = shape.num_trained * 4
    parts = {"critic": 4 * adapter}  # the adapter, its gradient and the optimizer's state
    if rewards := by_role(job.rewards)["reward"]:
        parts["reward adapters"] = len(rewards) * adapter
    return replace(learner, parts={**learner.parts, **parts})


def _with_teacher(learner: ProcessMemory, teacher: ModelConfig) -> ProcessMemory:
    """A rank that holds the teacher of a distillation, too."""
    size = model_shape(hf_config(teacher), teacher).num_params * BYTES[teacher.dtype]
    return replace(learner, parts={**learner.parts, "teacher": size})


def _teacher_engine(job: RlJob, gpu_bytes: int | None) -> ProcessMemory:
    """An engine of the teacher, which is run as those of the rollouts are."""
    assert job.algorithm.distill is not None
    teacher = job.algorithm.distill.teacher
    taught = job.model_copy(update={"model": teacher})
    return engine_memory(taught, model_shape(hf_config(teacher), teacher), gpu_bytes).process


def _reward_models(job: RlJob, row: RowSize) -> ProcessMemory:
    """A process that holds every reward model and scores a group at a time."""
    parts: dict[str, int] = {}
    scored = replace(row, num_groups=1)
    for reward in by_role(job.rewards)["reward"]:
        model = ModelConfig.model_validate(reward.options.get("model", {}))
        shape = _with_scalar_head(model_shape(hf_config(model), model))
        memory = forward_memory(shape, scored, model, job.learner)
        both = parts.keys() | memory.parts.keys()
        # Models stay; what a pass takes, and the runtime, they have in common.
        parts = {
            part: sum(values) if part == "weights" else max(values)
            for part in sorted(both)
            if (values := (parts.get(part, 0), memory.parts.get(part, 0)))
        }
    return ProcessMemory(parts)
