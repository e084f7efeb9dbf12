"""GRPO: a response is compared with the others to its prompt.

    A = r - mean(r of the group);  loss = mean over tokens of -min(rho A, clip(rho, 0.8, 1.2) A)

The published form also divides by the group's standard deviation and averages response by response:
`algorithm.advantage_scale=std algorithm.aggregation=sequence`. Both weigh responses by what the reward does
not know, the group's spread and the response's length, so here they are a choice.
"""

from __future__ import annotations

from typing import ClassVar

from medray.config.algorithms.base import GroupScaled


class Grpo(GroupScaled):
    """GRPO, with means over the step's tokens and no division by the group's spread."""

    title: ClassVar[str] = "GRPO"
    paper: ClassVar[str] = "2402.03300"

    kind: str = "grpo"
    """This algorithm."""
