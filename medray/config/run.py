"""Checkpoints, evaluation and logging: what every job shares."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medray.config.base import Section


class CheckpointConfig(Section):
    """How often checkpoints are written, and how many are kept."""

    every: int = Field(default=10, ge=1)
    """Steps between checkpoints; the last step always writes one."""
    keep_last: int = Field(default=2, ge=1)
    """Number of newest checkpoints to keep; older ones are removed once a newer one is complete."""
    resume: Literal["auto", "never"] = "auto"
    """auto resumes from the newest complete checkpoint under `out`; never refuses a folder that has one."""


class EvaluationConfig(Section):
    """Held-out evaluation, greedy, with 95% intervals."""

    every: int = Field(default=10, ge=1)
    """Steps between evaluations; there is always one before the first step and one after the last."""
    num_items: int = Field(default=128, ge=0)
    """Held-out records used; 0 turns evaluation off."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Maximum length of an answer, tokens; None uses the rollout's limit."""


class LoggingConfig(Section):
    """Where metrics go, in addition to `metrics.jsonl`."""

    tensorboard: bool = True
    """Write `events/` for TensorBoard."""
    trackers: tuple[Literal["wandb", "mlflow"], ...] = ()
    """Experiment trackers to report to; each needs its package (`pip install medray[wandb]`)."""
    rollouts: bool = True
    """Write every rollout to `rollouts/step_N.parquet`."""
    console: Literal["auto", "rich", "plain", "quiet"] = "auto"
    """auto: rich on a terminal, plain lines elsewhere."""
