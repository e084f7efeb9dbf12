"""Optimizer and learning-rate schedule."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medray.config.base import Section
from medray.config.parts import ScheduleName

Decay = Annotated[float, Field(ge=0, lt=1)]


class OptimConfig(Section):
    """AdamW (arXiv:1711.05101) with warm-up and a learning rate schedule."""

    lr: float = Field(default=1e-5, ge=0)
    """Peak learning rate."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of the first and second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the square root of the second moment."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay; not applied to biases and norms."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this L2 norm over all parameters."""
    schedule: ScheduleName = "constant"
    """Shape of the learning rate after warm-up: constant, linear, cosine, wsd, or your own as `package.module:name`.
    linear and cosine fall until the last step; wsd (warm-up, stable, decay) stays at the peak and falls at the end as
    1 - sqrt(progress) (arXiv:2405.18392)."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Optimizer steps of linear warm-up; None uses `warmup_ratio`."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Warm-up as a share of all steps, rounded up."""
    decay_ratio: float = Field(default=0.1, gt=0, le=1)
    """Share of all steps, at the end, in which wsd decays."""
    min_lr_ratio: float = Field(default=0.0, ge=0, le=1)
    """Final learning rate of linear, cosine and wsd, as a share of the peak."""
