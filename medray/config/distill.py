"""The on-policy distillation job: the rollouts of GRPO, a teacher in the place of rewards or beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

from pydantic import model_validator

from medray.config.algorithms.registry import TaughtAlgorithm
from medray.config.grpo import GrpoJob


class DistillJob(GrpoJob):
    """Configuration of `jobs/distill.py`."""

    out: str = "runs/distill"
    """Run folder: config, metrics, rollouts, checkpoints."""
    algorithm: TaughtAlgorithm  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    """Distillation only, or an algorithm (`kind`) that also trains on rewards."""

    @model_validator(mode="before")
    @classmethod
    def _name_what_is_missing(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {"algorithm": {}, **cast("Mapping[str, Any]", given)}

    @model_validator(mode="after")
    def _there_is_a_teacher(self) -> Self:
        if self.algorithm.distill is None:
            raise ValueError("algorithm.distill is missing: set algorithm.distill.teacher.path")
        return self
