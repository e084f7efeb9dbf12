"""GRPO and its variants: a clipped policy-gradient loss with an optional KL term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medray.config.grpo import AlgorithmConfig
from medray.learners.objectives.base import RowTensors
from medray.losses.kl import kl_penalty
from medray.losses.policy import clipped_policy_loss
from medray.losses.reduce import aggregate
from medray.observability.meters import Meters
from medray.types import StepTotals


@dataclass(frozen=True)
class PolicyGradient:
    """Reads the columns `behaviour_logp`, `advantage`, and `ref_logp` when the KL is in the loss."""

    config: AlgorithmConfig
    max_new_tokens: int
    separable: ClassVar[bool] = True

    def __call__(self, logp: Tensor, row: RowTensors, totals: StepTotals) -> tuple[Tensor, Meters]:
        """Return the row's share of the loss and its metrics."""
        config, columns = self.config, row.columns
        num_tokens = len(logp)
        per_token, stats = clipped_policy_loss(
            logp,
            columns["behaviour_logp"],
            columns["advantage"],
            clip_low=config.clip_low,
            clip_high=config.clip_high,
        )
        meters = Meters()
        if "ref_logp" in columns:
            kl = kl_penalty(logp, columns["ref_logp"], config.kl.estimator)
            meters.mean("policy/kl_ref", float(kl.detach().sum()), num_tokens)
            if config.kl.place == "loss":
                per_token = per_token + config.kl.coef * kl
        loss = aggregate(
            per_token,
            row.sequence_index,
            row.sequence_lengths,
            totals,
            how=config.aggregation,
            max_new_tokens=self.max_new_tokens,
        )
        meters.mean("policy/ratio", float(stats.ratio), num_tokens)
        meters.mean("policy/clip_share", float(stats.num_clipped), num_tokens)
        meters.mean("policy/kl_behaviour", float(stats.approx_kl), num_tokens)
        meters.mean("policy/entropy", float(-logp.detach().sum()), num_tokens)
        meters.max("policy/max_logprob_gap", float(stats.max_abs_log_ratio))
        return loss, meters
