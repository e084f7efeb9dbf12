"""The on-policy distillation job: the rollouts of GRPO, a teacher in the place of rewards or beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic import model_validator

from medray.config.algorithm import AlgorithmConfig
from medray.config.grpo import GrpoJob
from medray.config.policy import DistillConfig


class TaughtAlgorithm(AlgorithmConfig):
    """An algorithm with a teacher, who is all of the loss unless a preset or an advantage is named."""

    distill: DistillConfig  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]

    @model_validator(mode="before")
    @classmethod
    def _teacher_alone(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        keys = dict(cast("Mapping[str, Any]", given))
        alone = not {"preset", "advantage"} & keys.keys()
        return {"advantage": "none", "advantage_scale": "none", **keys} if alone else keys


class DistillJob(GrpoJob):
    """Everything `jobs/distill.py` does is said here."""

    out: str = "runs/distill"
    """Run folder: config, metrics, rollouts, checkpoints."""
    algorithm: TaughtAlgorithm  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]

    @model_validator(mode="before")
    @classmethod
    def _name_what_is_missing(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {"algorithm": {}, **cast("Mapping[str, Any]", given)}
