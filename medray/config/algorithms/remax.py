"""ReMax: the baseline is the reward of the prompt's greedy response.

    A = r - r(greedy response);  loss = sum over tokens / constant

One greedy response per prompt is decoded and graded besides the samples, and never trained on. A prompt may have
a single sample (`rollout.samples_per_prompt=1`). A KL penalty, when `algorithm.kl.coef` is set, is part of the
reward of the samples; the baseline is the greedy response's plain reward.
"""

from __future__ import annotations

from typing import ClassVar

from medray.config.algorithms.base import AlgorithmConfig, RewardKl
from medray.config.policy import Aggregation


class Remax(AlgorithmConfig):
    """REINFORCE with the greedy response as baseline."""

    title: ClassVar[str] = "ReMax"
    paper: ClassVar[str] = "2310.10505"
    estimator: ClassVar[str] = "remax"
    compares_within_group: ClassVar[bool] = False

    kind: str = "remax"
    """This algorithm."""
    aggregation: Aggregation = "fixed"
    """Sum over tokens / (responses * max_new_tokens), unless set to token or sequence."""
    kl: RewardKl = RewardKl()  # pyright: ignore[reportIncompatibleVariableOverride]
    """Penalty towards the reference model."""
