"""DAPO: GRPO with a higher upper clip, refilled batches, a mean over tokens, and a soft limit of length.

    loss = sum over tokens of -min(rho A, clip(rho, 0.8, 1.28) A) / tokens of the step
    A = (r - mean(r)) / (std(r) + 1e-6), with r less the overlong penalty

Groups whose rewards tie are replaced by further prompts until the batch is full. A fixed KL penalty is left out.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from medray.config.algorithms.base import DynamicSamplingConfig, GroupScaled, OverlongConfig


class Dapo(GroupScaled):
    """GRPO with clip-higher, dynamic sampling and the overlong penalty."""

    title: ClassVar[str] = "DAPO"
    paper: ClassVar[str] = "2503.14476"

    kind: str = "dapo"
    """This algorithm."""
    advantage_scale: Literal["none", "std"] = "std"
    """Divide the group's centered rewards by their sample standard deviation, or leave them."""
    clip_high: float = Field(default=0.28, ge=0)
    """The ratio is clipped above at 1 + clip_high."""
    dynamic_sampling: DynamicSamplingConfig | None = DynamicSamplingConfig()
    """Refill the batch with groups that have a signal; null trains on what the first prompts gave."""
    overlong: OverlongConfig | None = OverlongConfig()
    """Penalize length near the limit; null leaves the reward alone."""
