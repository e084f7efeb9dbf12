"""DPO and its relatives: a loss on the margin between a chosen and a rejected response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from medray.config.dpo import PreferenceConfig
from medray.learners.objectives.base import Output, Peers, RowTensors
from medray.learners.objectives.pairs import (
    PARTNER,
    pair_logps,
    response_means,
    response_sums,
    split_pairs,
    wins,
    with_partners,
)
from medray.learners.scorer import Scorer
from medray.losses.pairwise import (
    apo_down_loss,
    apo_zero_loss,
    bco_loss,
    discopop_loss,
    divergence_margin,
    exo_loss,
    nca_loss,
    policy_weights,
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
from medray.types import PromptTree, StepTotals


@dataclass(frozen=True)
class Preference:
    """Each tree is a pair, chosen first. Reads the column `ref_logp`, but for SimPO."""

    config: PreferenceConfig
    shift: float = 0.0  # of BCO; known once the step is prepared
    separable: ClassVar[bool] = False
    output: ClassVar[Output] = "logp"

    def prepare(
        self, scorer: Scorer, trees: Sequence[PromptTree], peers: Peers
    ) -> tuple[Sequence[PromptTree], Preference]:
        """Find what losses that look at all pairs of a step compare each with; others need nothing."""
        kind, beta = self.config.kind, self.config.beta
        if kind not in ("bco", "aot", "aot_unpaired"):
            return trees, self
        own = pair_logps(scorer, trees, by_length=self.config.by_length)
        if kind == "bco":
            sums = torch.tensor([beta * own.gains.sum(), own.gains.size], dtype=torch.float64)
            total, count = peers.sum_values(sums).tolist()
            return trees, replace(self, shift=total / max(count, 1.0))
        return with_partners(trees, own, peers, kind), self

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
        if config.kind in ("aot", "aot_unpaired"):
            loss = self._against_partners(chosen - rejected, *gains, row)
        else:
            loss = self._loss(margin, *gains)
        if config.policy_weighting:
            loss = self._weights(values, row, meters) * loss
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
            case "bco":
                return bco_loss(chosen, rejected, config.beta, self.shift)
            case "aot" | "aot_unpaired":
                raise AssertionError("compared with partners")

    def _against_partners(
        self, policy_margin: Tensor, chosen: Tensor, rejected: Tensor, row: RowTensors
    ) -> Tensor:
        """DPO's loss on the distance between values of the same rank in the step, arXiv:2406.05882.

        Both sides of an unpaired distance carry gradient, through rows of their own: the value is counted on the side
        of the chosen response, and the rejected one adds its gradient alone.
        """
        config = self.config
        partners = split_pairs(response_means(row.columns[PARTNER], row), row)
        if config.kind == "aot":
            return dpo_loss(policy_margin - partners[0], config.beta, config.label_smoothing)
        own = dpo_loss(chosen - partners[0], config.beta, config.label_smoothing)
        other = dpo_loss(partners[1] - rejected, config.beta, config.label_smoothing)
        return own + (other - other.detach())

    def _weights(self, logp: Tensor, row: RowTensors, meters: Meters) -> Tensor:
        """Weight of each pair, at most 1."""
        collision = row.columns["collision"]
        each = policy_weights(logp, collision, row.sequence_index, row.sequence_lengths)
        chosen, rejected = split_pairs(each, row)
        weight = (chosen * rejected).clamp(max=1)
        meters.mean("preference/policy_weight", float(weight.sum()), len(weight))
        return weight


@dataclass(frozen=True)
class WeightedPreference(Preference):
    """Reads the column `collision` as well, for the weights of WPO."""

    output: ClassVar[Output] = "logp+collision"


def preference(config: PreferenceConfig) -> Preference:
    """The objective of a DPO job's `loss` section."""
    return WeightedPreference(config) if config.policy_weighting else Preference(config)
