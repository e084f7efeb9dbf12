"""REINFORCE++-Baseline: the group's mean is the baseline, the whole batch gives the scale.

    A = (d - mean(d of the batch)) / (std(d of the batch) + 1e-6),  d = r - mean(r of the group)

Mean and deviation count a response once per token, as the loss does; once with `algorithm.aggregation=sequence`.

A KL penalty, when `algorithm.kl.coef` is set, is a loss of its own, as k2, whose gradient is that of the KL.
"""

from __future__ import annotations

from typing import ClassVar

from medray.config.algorithms.base import AlgorithmConfig
from medray.config.parts import KlEstimatorName
from medray.config.policy import KlConfig


class SquaredKl(KlConfig):
    """Penalty whose gradient in the loss is that of the KL."""

    estimator: KlEstimatorName = "k2"
    """As in every algorithm; k2 is the one whose gradient is that of the KL."""


class ReinforcePpBaseline(AlgorithmConfig):
    """REINFORCE with the group's mean as baseline and the batch's scale."""

    title: ClassVar[str] = "REINFORCE++-Baseline"
    paper: ClassVar[str] = "2501.03262"
    estimator: ClassVar[str] = "reinforce_pp_baseline"

    kind: str = "reinforce_pp_baseline"
    """This algorithm."""
    kl: SquaredKl = SquaredKl()  # pyright: ignore[reportIncompatibleVariableOverride]
    """Penalty towards the reference model."""
