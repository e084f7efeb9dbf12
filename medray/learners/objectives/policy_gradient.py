"""The policy-gradient objective of every RL algorithm: its parts are looked up by name.

    loss = aggregate(mask * correction * token_loss(logp, anchor, advantage) + kl.coef * kl)

The anchor of the ratio is the engine's log-probability of the token, or the learner's own from the start of the
batch (`old_logp`). In the only optimizer step of a batch the latter is the step's own value, held constant; with
more steps it comes as a column, computed once a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from medray.config.correction import corrections_of
from medray.config.parts import kind_of
from medray.config.policy import PolicyConfig
from medray.learners.covariance import LOSSES, with_picked
from medray.learners.objectives.base import Output, Peers, RowTensors
from medray.learners.objectives.corrections import Weigh, correction_weights
from medray.learners.objectives.token_losses import TokenLoss, token_loss
from medray.learners.scorer import Scorer
from medray.losses.kl import KlEstimator, importance_weighted, k3, kl_estimator
from medray.losses.policy import off_policy_mask
from medray.losses.reduce import aggregate
from medray.observability.meters import Meters
from medray.types import PromptTree, StepTotals


@dataclass(frozen=True)
class PolicyGradient:
    """Reads the columns `behaviour_logp`, `advantage`, `ref_logp` for a KL term, `old_logp` where it is needed."""

    config: PolicyConfig
    max_new_tokens: int
    separable: ClassVar[bool] = True
    output: ClassVar[Output] = "logp"

    def prepare(
        self, scorer: Scorer, trees: Sequence[PromptTree], peers: Peers
    ) -> tuple[Sequence[PromptTree], PolicyGradient]:
        """Pick the tokens that the loss treats apart, where it compares a token with all others of the step."""
        if kind_of(self.config.loss) not in LOSSES:
            return trees, self
        return with_picked(scorer, trees, peers, self.config), self

    def __call__(self, logp: Tensor, row: RowTensors, totals: StepTotals) -> tuple[Tensor, Meters]:
        """Return the row's share of the loss and its metrics."""
        config, meters = self.config, Meters()
        behaviour = row.columns["behaviour_logp"]
        old = row.columns["old_logp"] if config.needs_old_pass else logp.detach()
        anchor = old if config.ratio_is_to_old else behaviour
        per_token, figures = self._token_loss(logp, anchor, row, config)
        for name, values in figures.items():
            meters.mean(f"policy/{name}", float(values.detach().sum()), len(logp))
        if self._correction is not None:
            weight = self._correction(old, behaviour, row)
            per_token = weight * per_token
            meters.mean("policy/correction_weight", float(weight.sum()), len(logp))
            meters.mean("policy/correction_dropped", float((weight == 0).sum()), len(logp))
        if config.off_policy_mask is not None:
            kept = self._kept(logp, row, config.off_policy_mask)
            per_token = torch.where(kept, per_token, 0.0)
            meters.mean("policy/off_policy_masked", float((~kept).sum()), len(logp))
        if "ref_logp" in row.columns:
            reference = row.columns["ref_logp"]
            kl = self._kl(logp, reference)
            meters.mean("policy/kl_ref", float(kl.detach().sum()), len(logp))
            if config.kl.place == "loss":
                if config.kl.unbiased:
                    kl = importance_weighted(self._kl, logp, reference, behaviour)
                per_token = per_token + config.kl.coef * kl
        _compare(logp.detach(), behaviour, meters)
        loss = aggregate(
            per_token,
            row.sequence_index,
            row.sequence_lengths,
            totals,
            how=config.aggregation,
            max_new_tokens=self.max_new_tokens,
        )
        return loss, meters

    @staticmethod
    def _kept(logp: Tensor, row: RowTensors, threshold: float) -> Tensor:
        return off_policy_mask(
            logp,
            row.columns["behaviour_logp"],
            row.columns["advantage"],
            row.sequence_index,
            row.sequence_lengths,
            threshold,
        )

    @cached_property
    def _token_loss(self) -> TokenLoss:
        return token_loss(self.config.loss)

    @cached_property
    def _correction(self) -> Weigh | None:
        return correction_weights(corrections_of(self.config.correction))

    @cached_property
    def _kl(self) -> KlEstimator:
        return kl_estimator(self.config.kl.estimator)


def _compare(logp: Tensor, behaviour: Tensor, meters: Meters) -> None:
    meters.mean("policy/kl_behaviour", float(k3(behaviour, logp).sum()), len(logp))
    meters.mean("policy/entropy", float(-logp.sum()), len(logp))
    meters.max("policy/max_logprob_gap", float((logp - behaviour).abs().max()))
