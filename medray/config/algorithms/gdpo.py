"""GDPO: each reward is normalised by itself before the rewards are added.

    A_k = (r_k - mean) / (std + 1e-6) of the group;  A = sum of weight_k A_k, whitened over the batch

Rewards and weights are those of `rewards`. A KL in the reward and the overlong penalty count as one more reward of
weight 1. Mean and deviation over the batch have the unit of `algorithm.aggregation`, as in REINFORCE++.
"""

from __future__ import annotations

from typing import ClassVar

from medray.config.algorithms.base import AlgorithmConfig


class Gdpo(AlgorithmConfig):
    """GRPO for several rewards, each with a scale of its own."""

    title: ClassVar[str] = "GDPO"
    paper: ClassVar[str] = "2601.05242"
    estimator: ClassVar[str] = "gdpo"

    kind: str = "gdpo"
    """This algorithm."""
