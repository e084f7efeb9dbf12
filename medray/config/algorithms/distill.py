"""On-policy distillation alone: the divergence from a teacher on the student's own tokens; rewards are measured only.

    loss = coef * D(teacher, student), over the tokens that the student sampled

Any other algorithm takes a teacher beside its rewards with the same section, `algorithm.distill`.
"""

from __future__ import annotations

from typing import ClassVar

from medray.config.algorithms.base import AlgorithmConfig
from medray.config.policy import DistillConfig


class Distillation(AlgorithmConfig):
    """A teacher and no advantages, so nothing that acts on rewards or on the ratio is a key of it."""

    title: ClassVar[str] = "On-policy distillation"
    paper: ClassVar[str] = "2306.13649"
    estimator: ClassVar[str] = "none"
    compares_within_group: ClassVar[bool] = False

    # A ClassVar takes the key of that name away and leaves its value to those who read it.
    advantage: ClassVar = None  # pyright: ignore[reportIncompatibleVariableOverride]
    dynamic_sampling: ClassVar = None  # pyright: ignore[reportIncompatibleVariableOverride]
    overlong: ClassVar = None  # pyright: ignore[reportIncompatibleVariableOverride]
    mask_truncated: ClassVar = False  # pyright: ignore[reportIncompatibleVariableOverride]
    zero_advantages: ClassVar = False  # pyright: ignore[reportIncompatibleVariableOverride]
    loss: ClassVar = "clipped"  # pyright: ignore[reportIncompatibleVariableOverride]
    clip_low: ClassVar = 0.2  # pyright: ignore[reportIncompatibleVariableOverride]
    clip_high: ClassVar = 0.2  # pyright: ignore[reportIncompatibleVariableOverride]
    clip_dual: ClassVar = None  # pyright: ignore[reportIncompatibleVariableOverride]
    off_policy_mask: ClassVar = None  # pyright: ignore[reportIncompatibleVariableOverride]
    ratio: ClassVar = "auto"  # pyright: ignore[reportIncompatibleVariableOverride]
    correction: ClassVar = None  # pyright: ignore[reportIncompatibleVariableOverride]

    kind: str = "distill"
    """This algorithm."""
    distill: DistillConfig  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    """The teacher, and how far the student is from it."""

    @property
    def uses_advantages(self) -> bool:
        """False: the loss compares with a teacher, so rewards are logged but do not train."""
        return False
