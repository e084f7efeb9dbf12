"""A job's memory, role by role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medray.config.base import Section
from medray.config.cluster import RoleResources
from medray.config.grpo import GrpoJob
from medray.config.resources import grpo_roles
from medray.config.supervised import SupervisedJob
from medray.planning.engine import engine_memory
from medray.planning.memory import (
    MIB,
    RUNTIME_MIB,
    ProcessMemory,
    forward_memory,
    learner_memory,
)
from medray.planning.shape import BYTES, activation_bytes, hf_config, model_shape
from medray.planning.tokens import Row, largest_row

RAY_BYTES = 700 * MIB  # Ray's own processes and the driver, on the head node


@dataclass(frozen=True)
class RolePlan:
    """One kind of process of the job."""

    name: str
    count: int
    resources: RoleResources
    memory: ProcessMemory
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """All roles, and what lives beside them."""

    roles: tuple[RolePlan, ...]
    row: Row
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


def plan_job(job: Section, gpu_bytes: int | None = None) -> Plan:
    """Predict the memory of every process of a job.

    Args:
        job: a grpo or a supervised job.
        gpu_bytes: memory of one GPU, which an engine fills up; None takes what it needs.

    Raises:
        ModelError: the model's configuration cannot be read.
    """
    model: Any = job.model  # type: ignore[attr-defined]
    own, row = hf_config(model), largest_row(job)
    shape = model_shape(own, model)
    kept = activation_bytes(own, model, row, model.dtype)
    if isinstance(job, SupervisedJob):
        workers = job.workers
        memory = learner_memory(
            shape, kept, row, model, job.learner,
            strategy=job.learner.resolved(workers.num_workers), ranks=workers.num_workers,
            offload=job.learner.offload_optimizer,
        )  # fmt: skip
        roles = (RolePlan("learner", workers.num_workers, workers.resources, memory),)
        return Plan(roles, row, model.device, 0)
    assert isinstance(job, GrpoJob), f"no plan for a {type(job).__name__}"
    learner = learner_memory(shape, kept, row, model, job.learner, ranks=job.scale.learner_ranks)
    engine = engine_memory(job, shape, gpu_bytes)

    def rl_roles() -> Iterator[RolePlan]:
        for role in grpo_roles(job):
            memory, note = ProcessMemory({"runtime": RUNTIME_MIB["grader"] * MIB}), ""
            if role.name == "learner":
                memory = learner
            elif role.name == "rollout":
                memory = engine.process
                note = f"KV cache for {engine.num_sequences} sequences of the greatest length"
            elif role.name == "reference":
                memory = forward_memory(shape, row, model, job.learner)
            elif model.device == "cuda":  # graders compute on the CPU
                memory = ProcessMemory({}, memory.parts)
            yield RolePlan(role.name, role.count, role.resources, memory, note)

    store = 0
    if job.sync.backend == "object_store":
        store = 2 * shape.num_params * BYTES[model.dtype]  # the version served, and the next
    return Plan(tuple(rl_roles()), row, model.device, store)
