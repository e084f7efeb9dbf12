"""Pass@k training: what counts is that one of k responses is right.

    A of a response = its mean advantage over all subsets of k of its group, each worth its best response

With k = 1 it is GRPO with division by the group's (population) deviation. Groups that nearly always have a right
response among k lose their weight, so hard prompts get the gradient and the policy keeps exploring.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from medray.config.algorithms.base import AlgorithmConfig


class PassAtK(AlgorithmConfig):
    """GRPO whose reward is the best of k."""

    title: ClassVar[str] = "Pass@k"
    paper: ClassVar[str] = "2508.10751"
    estimator: ClassVar[str] = "pass_at_k"

    kind: str = "pass_at_k"
    """This algorithm."""
    k: int = Field(default=4, ge=1)
    """Responses of which one has to be right; at most `rollout.samples_per_prompt`."""
    threshold: float = 0.5
    """A response is right when its reward is above this."""

    @property
    def min_samples(self) -> int:
        """Fewest responses per prompt: k, and two to compare."""
        return max(super().min_samples, self.k)
