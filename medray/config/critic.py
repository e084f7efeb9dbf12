"""The critic: which model, how it is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medray.config.base import Section
from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig


class ValueLossConfig(Section):
    """Regression of values on returns."""

    clip: float | None = Field(default=0.2, gt=0)
    """A value may move so far (reward units) from where it was when the batch was sampled before its gradient goes;
    null for the plain squared error."""
    aggregation: Literal["token", "sequence"] = "token"
    """Mean over the step's tokens, or over responses of their token mean."""


class CriticConfig(Section):
    """A model with a scalar head that says what a state is worth."""

    model: ModelConfig | None = None
    """Any size; the reward model's folder is a good start. null takes the policy's own model, with a new head."""
    optim: OptimConfig = OptimConfig()
    """Its own optimizer."""
    loss: ValueLossConfig = ValueLossConfig()
    warmup_steps: int = Field(default=0, ge=0)
    """Rollout batches, at the beginning of the run, on which the critic alone is trained."""
