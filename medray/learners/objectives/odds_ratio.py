"""ORPO: imitation of the chosen response and the odds ratio to the rejected one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medray.config.orpo import OddsRatioConfig
from medray.learners.objectives.base import Output, RowTensors
from medray.learners.objectives.pairs import response_means, split_pairs, wins
from medray.losses.preference import log_odds_ratio, orpo_loss
from medray.losses.reduce import total_over
from medray.observability.meters import Meters
from medray.types import StepTotals


@dataclass(frozen=True)
class OddsRatio:
    """Each tree is a pair, chosen first; no reference.

    Mean over pairs of -logp(chosen) a token + weight * -log sigma(log odds ratio), arXiv:2403.07691 eq. 6.
    """

    config: OddsRatioConfig
    separable: ClassVar[bool] = False
    output: ClassVar[Output] = "logp"

    def __call__(
        self, values: Tensor, row: RowTensors, totals: StepTotals
    ) -> tuple[Tensor, Meters]:
        """Return the row's share of the mean over pairs, and its metrics; `values` is logp [N]."""
        chosen, rejected = split_pairs(response_means(values, row), row)
        loss = -chosen + self.config.weight * orpo_loss(chosen, rejected)
        ratio = log_odds_ratio(chosen, rejected).detach()
        meters, count = Meters(), len(ratio)
        meters.mean("preference/accuracy", wins(ratio), count)
        meters.mean("preference/log_odds_ratio", float(ratio.sum()), count)
        meters.mean("preference/chosen_nll_nats", float(-chosen.detach().sum()), count)
        return total_over(loss, totals.num_groups), meters
