"""REINFORCE++: rewards whitened over the whole batch, with PPO's clipped loss and no critic.

    A = (r - mean(r of the batch)) / (std(r of the batch) + 1e-6)

Mean and deviation count a reward once per token of its response, as the loss does; once per response with
`algorithm.aggregation=sequence`. The loss thus sees advantages of mean 0, as in the authors' code.

A prompt may have a single response (`rollout.samples_per_prompt=1`). A KL penalty, when `algorithm.kl.coef`
is set, is part of the reward, as k1: a token answers for the penalties from it to the end of the response,

    A_t = (r - coef * sum of kl_s, s >= t - mean) / (std + 1e-6), mean and deviation over the batch's tokens.
"""

from __future__ import annotations

from typing import ClassVar

from medray.config.algorithms.base import AlgorithmConfig, RewardKl


class ReinforcePp(AlgorithmConfig):
    """REINFORCE with rewards whitened over the batch."""

    title: ClassVar[str] = "REINFORCE++"
    paper: ClassVar[str] = "2501.03262"
    estimator: ClassVar[str] = "reinforce_pp"
    compares_within_group: ClassVar[bool] = False

    kind: str = "reinforce_pp"
    """This algorithm."""
    kl: RewardKl = RewardKl()  # pyright: ignore[reportIncompatibleVariableOverride]
    """Penalty towards the reference model."""
