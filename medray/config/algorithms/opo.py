"""OPO: the baseline of a group is its mean over tokens, that of least variance.

    A = r - sum(n r) / sum(n) over the group, n tokens of a response;  loss = sum over tokens / tokens of the step

It belongs to exact on-policy training, one optimizer step per batch (the default), where the clip never acts.
"""

from __future__ import annotations

from typing import ClassVar

from medray.config.algorithms.base import AlgorithmConfig


class Opo(AlgorithmConfig):
    """REINFORCE with the optimal baseline."""

    title: ClassVar[str] = "OPO"
    paper: ClassVar[str] = "2505.23585"
    estimator: ClassVar[str] = "opo"

    kind: str = "opo"
    """This algorithm."""
