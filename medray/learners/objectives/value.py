"""The critic's objective: clipped regression of each token's value on its return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medray.config.critic import ValueLossConfig
from medray.learners.objectives.base import Output, RowTensors
from medray.losses.reduce import aggregate
from medray.losses.value import clipped_value_loss
from medray.observability.meters import Meters
from medray.types import StepTotals


@dataclass(frozen=True)
class ValueRegression:
    """Reads the columns `return` and `old_value`, the critic's own value from when the batch was sampled."""

    config: ValueLossConfig
    separable: ClassVar[bool] = True
    output: ClassVar[Output] = "value"

    def __call__(
        self, values: Tensor, row: RowTensors, totals: StepTotals
    ) -> tuple[Tensor, Meters]:
        """Return the row's share of the loss and its metrics; `values` are V [N]."""
        returns, old = row.columns["return"].double(), row.columns["old_value"].double()
        per_token, clipped = clipped_value_loss(values.double(), old, returns, self.config.clip)
        meters, count = Meters(), len(values)
        error = (values.detach().double() - returns).square()
        meters.mean("value/squared_error", float(error.sum()), count)
        meters.mean("value/clip_share", float(clipped.sum()), count)
        meters.mean("value/mean", float(values.detach().double().sum()), count)
        loss = aggregate(
            per_token,
            row.sequence_index,
            row.sequence_lengths,
            totals,
            how=self.config.aggregation,
        )
        return loss, meters
