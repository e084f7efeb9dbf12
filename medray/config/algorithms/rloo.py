"""RLOO: the baseline of a response is the mean reward of the other responses to its prompt.

    A_i = r_i - mean(r_j, j != i) = G / (G - 1) * (r_i - mean(r));  loss = sum over tokens / constant

A whole response is one action, so its tokens' terms are summed; the constant is responses * max_new_tokens.
A KL penalty, when `algorithm.kl.coef` is set, is part of the reward.
"""

from __future__ import annotations

from typing import ClassVar

from medray.config.algorithms.base import AlgorithmConfig, RewardKl
from medray.config.policy import Aggregation


class Rloo(AlgorithmConfig):
    """REINFORCE with a leave-one-out baseline."""

    title: ClassVar[str] = "RLOO"
    paper: ClassVar[str] = "2402.14740"
    estimator: ClassVar[str] = "rloo"

    kind: str = "rloo"
    """This algorithm."""
    aggregation: Aggregation = "fixed"
    """Sum over tokens / (responses * max_new_tokens), unless set to token or sequence."""
    kl: RewardKl = RewardKl()  # pyright: ignore[reportIncompatibleVariableOverride]
    """Penalty towards the reference model."""
