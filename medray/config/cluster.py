"""How many of each actor there are, what each one takes, and how long the driver waits for them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from medray.config.base import Section
from medray.config.cores import usable_cores


class RoleResources(Section):
    """What one actor of a role reserves."""

    cpus: float = Field(default=1.0, ge=0)
    """CPU cores reserved."""
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    """Compute threads; None takes `cpus`. Roles that take turns may each use all the cores. auto takes what
    `medray tune` found for an RL job on this machine, else all cores, or a fair share where roles compute at once."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs reserved; a fraction lets actors share one."""
    custom: dict[str, float] = Field(default_factory=dict)
    """Custom Ray resources, e.g. {rollout_node: 1} to pin a role to a node type."""

    @property
    def num_threads(self) -> int:
        """Threads an actor of this role computes with."""
        if self.threads == "auto":
            return usable_cores()
        return self.threads or max(1, int(self.cpus))


class ScaleConfig(Section):
    """Number of actors a role, and the resources of each."""

    learner_ranks: int = Field(default=1, ge=1)
    """Ranks of the policy; each computes a share of the batch, and `learner.strategy` says what it holds."""
    rollout_workers: int = Field(default=1, ge=1)
    """vLLM engines."""
    references: int = Field(default=1, ge=1)
    """Copies of the frozen reference, where there is one beside the learner."""
    teachers: int = Field(default=1, ge=1)
    """Engines of the teacher of a distillation (`algorithm.distill.engine=vllm`)."""
    reward_models: int = Field(default=1, ge=1)
    """Processes that run the reward models (`rewards` of kind model); each holds all of them."""
    graders: int = Field(default=1, ge=1)
    """Processes that compute the other rewards and write rollouts."""
    learner: RoleResources = RoleResources(cpus=1.0)
    rollout: RoleResources = RoleResources(cpus=1.0)
    reference: RoleResources = RoleResources(cpus=1.0)
    teacher: RoleResources = RoleResources(cpus=1.0)
    reward: RoleResources = RoleResources(cpus=1.0)
    grader: RoleResources = RoleResources(cpus=0.1)
    placement: Literal["pack", "spread"] = "pack"
    """Keep the actors on few nodes, or spread them."""
    max_restarts: int = Field(default=20, ge=0)
    """Deaths of rollout workers, of graders, and of the learner that a run makes good before it gives up."""
    colocate: bool = False
    """Learner and engines share the GPUs and take turns (vLLM sleeps during the update)."""


class DeadlineConfig(Section):
    """Seconds the driver waits before it names who is late and stops."""

    start_s: float = Field(default=600, gt=0)
    """All actors constructed and their models loaded."""
    generate_s: float = Field(default=1200, gt=0)
    """One rollout batch."""
    grade_s: float = Field(default=300, gt=0)
    """Rewards of one group."""
    update_s: float = Field(default=1800, gt=0)
    """One optimizer step over all ranks."""
    sync_s: float = Field(default=300, gt=0)
    """One weight sync, the probe included."""
    save_s: float = Field(default=600, gt=0)
    """One checkpoint."""
    frozen_s: float = Field(default=20, gt=0)
    """A process that stays stopped so long is taken for dead: named with its stack, killed and replaced."""


class SyncConfig(Section):
    """How the learner's weights reach the engines."""

    backend: Literal["object_store", "nccl", "ipc"] = "object_store"
    """object_store works everywhere; nccl and ipc move GPU memory directly."""
    tolerance: float | None = Field(default=None, gt=0)
    """Largest |engine - learner| log-probability (nats) the probe accepts; None takes 1e-3 for float32, else 0.15."""
    bucket_mb: int = Field(default=128, ge=1)
    """Tensors travel in buckets of about this size."""
    adapters: Literal["auto", "merged", "factors"] = "auto"
    """Adapted weights travel merged by the learner, or as the adapter's factors, which engines merge; auto times both
    and keeps the faster (factors in deterministic runs, and where engines load while they serve). Object store only."""
