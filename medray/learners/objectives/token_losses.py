"""Token losses by name: what one trained token contributes, before corrections, the KL term and aggregation."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from medray.config.policy import PolicyConfig
from medray.learners.objectives.base import RowTensors
from medray.losses.policy import PolicyStats, cispo_loss, clipped_policy_loss, gspo_loss


class TokenLoss(Protocol):
    """A row always holds whole responses, so a loss may look at all the trained tokens of one."""

    def __call__(
        self, logp: Tensor, anchor: Tensor, row: RowTensors, config: PolicyConfig
    ) -> tuple[Tensor, PolicyStats]:
        """Loss [N] and statistics of a row.

        Args:
            logp: [N] nats, under the policy being trained; carries grad.
            anchor: [N] nats, what the ratio is taken against.
            row: `advantage` among its columns.
            config: clip bounds.
        """
        ...


def _clipped(
    logp: Tensor, anchor: Tensor, row: RowTensors, config: PolicyConfig
) -> tuple[Tensor, PolicyStats]:
    advantage = row.columns["advantage"]
    return clipped_policy_loss(logp, anchor, advantage, config.clip_low, config.clip_high)


def _gspo(
    logp: Tensor, anchor: Tensor, row: RowTensors, config: PolicyConfig
) -> tuple[Tensor, PolicyStats]:
    return gspo_loss(
        logp,
        anchor,
        row.columns["advantage"],
        row.sequence_index,
        row.sequence_lengths,
        config.clip_low,
        config.clip_high,
    )


def _cispo(
    logp: Tensor, anchor: Tensor, row: RowTensors, config: PolicyConfig
) -> tuple[Tensor, PolicyStats]:
    return cispo_loss(logp, anchor, row.columns["advantage"], config.clip_low, config.clip_high)


TOKEN_LOSSES: dict[str, TokenLoss] = {"clipped": _clipped, "gspo": _gspo, "cispo": _cispo}
