"""Optimizer and learning-rate schedule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medray.config.base import Section


class OptimConfig(Section):
    """AdamW (arXiv:1711.05101) with a warm-up and a schedule."""

    lr: float = Field(default=1e-5, ge=0)
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the first and second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled decay; not applied to biases and norms."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this L2 norm over all parameters."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Shape of the learning rate after warm-up, down to zero at the last step."""
    warmup_steps: int = Field(default=0, ge=0)
    """Optimizer steps of linear warm-up."""
