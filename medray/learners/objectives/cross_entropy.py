"""Pretraining and supervised fine-tuning: the negative log-likelihood of the trained tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medray.config.sft import CrossEntropyConfig
from medray.learners.objectives.base import Output, RowTensors
from medray.losses.reduce import aggregate
from medray.observability.meters import Meters
from medray.types import StepTotals


@dataclass(frozen=True)
class CrossEntropy:
    """Mean over the trained tokens of the whole step, or over its sequences."""

    config: CrossEntropyConfig
    separable: ClassVar[bool] = True
    output: ClassVar[Output] = "logp+hit"

    def __call__(
        self, values: Tensor, row: RowTensors, totals: StepTotals
    ) -> tuple[Tensor, Meters]:
        """Return the row's share of the loss and its metrics; `values` is logp [N]."""
        nll = -values.double()
        loss = aggregate(
            nll, row.sequence_index, row.sequence_lengths, totals, how=self.config.aggregation
        )
        meters = Meters()
        meters.mean("lm/nll_nats", float(nll.detach().sum()), len(nll))
        meters.mean("lm/token_accuracy", float(row.columns["hit"].sum()), len(nll))
        return loss, meters
