"""Reward modelling: scores of chosen and rejected responses under the Bradley-Terry model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medray.config.rm import BradleyTerryConfig
from medray.learners.objectives.base import Output, RowTensors
from medray.learners.objectives.pairs import response_means, split_pairs, wins
from medray.losses.preference import bradley_terry_loss
from medray.losses.reduce import total_over
from medray.observability.meters import Meters
from medray.types import StepTotals


@dataclass(frozen=True)
class BradleyTerry:
    """Each tree is a pair, chosen first. Reads the column `margin` of the chosen response, where there is one."""

    config: BradleyTerryConfig
    separable: ClassVar[bool] = False
    output: ClassVar[Output] = "score"

    def __call__(
        self, values: Tensor, row: RowTensors, totals: StepTotals
    ) -> tuple[Tensor, Meters]:
        """Return the row's share of the mean over pairs, and its metrics; `values` are scores [S]."""
        chosen, rejected = split_pairs(values.double(), row)
        margin = None
        if self.config.use_margin and "margin" in row.columns:
            margin = split_pairs(response_means(row.columns["margin"], row), row)[0]
        loss = bradley_terry_loss(chosen, rejected, margin, self.config.centring)
        gap = (chosen - rejected).detach()
        meters, count = Meters(), len(gap)
        meters.mean("reward/accuracy", wins(gap), count)
        meters.mean("reward/margin", float(gap.sum()), count)
        meters.mean("reward/score", float(values.detach().double().sum()), 2 * count)
        return total_over(loss, totals.num_groups), meters
