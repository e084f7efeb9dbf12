"""How many of each actor there are, what each one takes, and how long the driver waits for them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medray.config.base import Section


class RoleResources(Section):
    """What one actor of a role reserves."""

    cpus: float = Field(1.0, ge=0)
    """CPU cores reserved; also the actor's compute threads (at least one)."""
    gpus: float = Field(0.0, ge=0)
    """GPUs reserved; a fraction lets actors share one."""
    custom: dict[str, float] = Field(default_factory=dict)
    """Custom Ray resources, e.g. {rollout_node: 1} to pin a role to a node type."""


class ScaleConfig(Section):
    """Number of actors a role, and the resources of each."""

    learner_ranks: int = Field(1, ge=1)
    """Ranks of the policy; each holds the whole model and a share of the batch."""
    rollout_workers: int = Field(1, ge=1)
    """vLLM engines."""
    graders: int = Field(1, ge=1)
    """Processes that compute rewards."""
    learner: RoleResources = RoleResources(cpus=1.0)
    rollout: RoleResources = RoleResources(cpus=1.0)
    reference: RoleResources = RoleResources(cpus=1.0)
    grader: RoleResources = RoleResources(cpus=0.1)
    placement: Literal["pack", "spread"] = "pack"
    """Keep the actors on few nodes, or spread them."""
    colocate: bool = False
    """Learner and engines share the GPUs and take turns (vLLM sleeps during the update)."""


class DeadlineConfig(Section):
    """Seconds the driver waits before it names who is late and stops."""

    start_s: float = Field(600, gt=0)
    """All actors constructed and their models loaded."""
    generate_s: float = Field(1200, gt=0)
    """One rollout batch."""
    grade_s: float = Field(300, gt=0)
    """Rewards of one group."""
    update_s: float = Field(1800, gt=0)
    """One optimizer step over all ranks."""
    sync_s: float = Field(300, gt=0)
    """One weight sync, the probe included."""
    save_s: float = Field(600, gt=0)
    """One checkpoint."""


class SyncConfig(Section):
    """How the learner's weights reach the engines."""

    backend: Literal["object_store", "nccl", "ipc"] = "object_store"
    """object_store works everywhere; nccl and ipc move GPU memory directly."""
    tolerance: float = Field(1e-3, gt=0)
    """Largest |engine - learner| log-probability (nats) the probe accepts. bf16 weights need about 0.1."""
    bucket_mb: int = Field(128, ge=1)
    """Tensors travel in buckets of about this size."""
