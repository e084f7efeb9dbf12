"""DPO and its relatives: a loss on the margin between a chosen and a rejected response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medray.config.dpo import PreferenceConfig
from medray.learners.objectives.base import Output, RowTensors
from medray.learners.objectives.pairs import response_means, response_sums, split_pairs, wins
from medray.losses.preference import (
    dpo_loss,
    hinge_loss,
    ipo_loss,
    log_ratio_margin,
    robust_dpo_loss,
    simpo_loss,
)
from medray.losses.reduce import total_over
from medray.observability.meters import Meters
from medray.types import StepTotals


@dataclass(frozen=True)
class Preference:
    """Each tree is a pair, chosen first. Reads the column `ref_logp`, but for SimPO."""

    config: PreferenceConfig
    separable: ClassVar[bool] = False
    output: ClassVar[Output] = "logp"

    def __call__(
        self, values: Tensor, row: RowTensors, totals: StepTotals
    ) -> tuple[Tensor, Meters]:
        """Return the row's share of the mean over pairs, and its metrics; `values` is logp [N]."""
        config, meters = self.config, Meters()
        by_length = config.length_normalised or config.kind == "simpo"
        reduce = response_means if by_length else response_sums
        chosen, rejected = split_pairs(reduce(values, row), row)
        if config.needs_reference:
            references = split_pairs(reduce(row.columns["ref_logp"], row), row)
            margin = log_ratio_margin(chosen, rejected, *references)
            gains = (chosen - references[0], rejected - references[1])
        else:
            margin, gains = chosen - rejected, (chosen, rejected)
        loss = self._loss(margin, chosen, rejected)
        nll = -split_pairs(response_means(values, row), row)[0]
        if config.sft_weight:
            loss = loss + config.sft_weight * nll
        count = len(margin)
        meters.mean("preference/accuracy", wins(margin.detach()), count)
        meters.mean("preference/margin", config.beta * float(margin.detach().sum()), count)
        for name, gain in zip(("chosen", "rejected"), gains, strict=True):
            meters.mean(
                f"preference/{name}_reward", config.beta * float(gain.detach().sum()), count
            )
        meters.mean("preference/chosen_nll_nats", float(nll.detach().sum()), count)
        return total_over(loss, totals.num_groups), meters

    def _loss(self, margin: Tensor, chosen: Tensor, rejected: Tensor) -> Tensor:
        config = self.config
        match config.kind:
            case "sigmoid":
                return dpo_loss(margin, config.beta, config.label_smoothing)
            case "robust":
                return robust_dpo_loss(margin, config.beta, config.label_smoothing)
            case "ipo":
                return ipo_loss(margin, config.beta)
            case "hinge":
                return hinge_loss(margin, config.beta)
            case "simpo":
                return simpo_loss(chosen, rejected, config.beta, config.gamma)
