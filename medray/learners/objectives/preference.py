"""DPO and its relatives: a loss on the margin between a chosen and a rejected response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medray.config.dpo import PreferenceConfig
from medray.learners.objectives.base import Output, RowTensors
from medray.learners.objectives.pairs import response_means, response_sums, split_pairs, wins
from medray.losses.pairwise import (
    apo_down_loss,
    apo_zero_loss,
    discopop_loss,
    divergence_margin,
    exo_loss,
    nca_loss,
    sppo_loss,
)
from medray.losses.preference import (
    dpo_loss,
    hinge_loss,
    ipo_loss,
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
        reduce = response_means if config.by_length else response_sums
        chosen, rejected = split_pairs(reduce(values, row), row)
        if config.needs_reference:
            references = split_pairs(reduce(row.columns["ref_logp"], row), row)
            gains = (chosen - references[0], rejected - references[1])
            margin = divergence_margin(*gains, config.divergence, config.alpha)
        else:
            margin, gains = chosen - rejected, (chosen, rejected)
        loss = self._loss(margin, *gains)
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
        """Return the loss of each pair from its margin and the gains of both responses."""
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
            case "exo":
                return exo_loss(margin, config.beta, config.label_smoothing)
            case "nca":
                return nca_loss(chosen, rejected, config.beta)
            case "sppo":
                return sppo_loss(chosen, rejected, config.beta)
            case "apo_zero":
                return apo_zero_loss(chosen, rejected, config.beta)
            case "apo_down":
                return apo_down_loss(chosen, rejected, config.beta)
            case "discopop":
                return discopop_loss(margin, config.beta, config.discopop_tau)
