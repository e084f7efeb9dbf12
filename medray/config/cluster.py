"""How long the driver waits for its actors, and how weights reach the engines."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medray.config.base import Seconds, Section


class DeadlineConfig(Section):
    """Seconds the driver waits before it names who is late and stops."""

    start_s: Seconds = 600
    """All actors constructed and their models loaded."""
    generate_s: Seconds = 1200
    """Longest time in which a rollout worker that has groups to sample completes none."""
    grade_s: Seconds = 300
    """Longest time in which a grader that has groups to grade completes none."""
    update_s: Seconds = 1800
    """One optimizer step over all ranks; longest time in which a reference model or teacher that has groups to score
    completes none."""
    sync_s: Seconds = 300
    """One weight sync, the probe included."""
    save_s: Seconds = 600
    """One checkpoint."""
    frozen_s: Seconds = 20
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
