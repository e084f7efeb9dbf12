"""A policy loss with a bonus for breadth.

    loss = policy loss - aggregate(entropy_coef * H)

H is the entropy of the whole distribution that each trained token was drawn from, at the sampling temperature. Its
gradient goes through that distribution, not through the sampling. Source: arXiv:1602.01783, arXiv:1707.06347 eq. 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medray.learners.objectives.base import Output, RowTensors
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.losses.reduce import aggregate
from medray.observability.meters import Meters
from medray.types import StepTotals


@dataclass(frozen=True)
class EntropyBonus(PolicyGradient):
    """Reads the column `entropy` besides those of the policy loss."""

    output: ClassVar[Output] = "logp+entropy"

    def __call__(self, logp: Tensor, row: RowTensors, totals: StepTotals) -> tuple[Tensor, Meters]:
        """Return the row's share of the loss and its metrics."""
        loss, meters = super().__call__(logp, row, totals)
        entropy = row.columns["entropy"]
        meters.mean("policy/entropy_exact", float(entropy.detach().sum()), len(entropy))
        bonus = aggregate(
            entropy,
            row.sequence_index,
            row.sequence_lengths,
            totals,
            how=self.config.aggregation,
            max_new_tokens=self.max_new_tokens,
        )
        return loss - self.config.entropy_coef * bonus, meters
