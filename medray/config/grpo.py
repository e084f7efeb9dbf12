"""The GRPO job: every algorithm without a critic."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from medray.config.algorithms.grpo import Grpo
from medray.config.algorithms.registry import Algorithm
from medray.config.rl import RlJob


class GrpoJob(RlJob):
    """Configuration of `jobs/grpo.py`."""

    out: str = "runs/grpo"
    """Run folder: config, metrics, rollouts, checkpoints."""
    no_signal_patience: int = Field(default=5, ge=1)
    """Print advice after this many steps in which all groups tied."""
    algorithm: Algorithm = Grpo()  # pyright: ignore[reportIncompatibleVariableOverride]
    """The algorithm (`kind`) and its settings."""

    @model_validator(mode="after")
    def _enough_to_compare(self) -> Self:
        if self.rollout.samples_per_prompt < self.algorithm.min_samples:
            raise ValueError(
                f"rollout.samples_per_prompt={self.rollout.samples_per_prompt} gives a response nothing to be compared "
                f"with: set rollout.samples_per_prompt={self.algorithm.min_samples} or more"
            )
        return self
