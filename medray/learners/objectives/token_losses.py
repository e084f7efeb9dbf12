"""Token losses by name: what one trained token contributes, before corrections, the KL term and aggregation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from medray.config.parts import LOSS, LossName, kind_of
from medray.config.policy import PolicyConfig
from medray.errors import ConfigError
from medray.learners.covariance import PICKED
from medray.learners.objectives.base import RowTensors
from medray.losses.policy import (
    PolicyStats,
    cispo_loss,
    clip_cov_loss,
    clipped_policy_loss,
    dppo_loss,
    gmpo_loss,
    gspo_loss,
    kl_cov_loss,
    sapo_loss,
)
from medray.losses.ratio import log_ratio
from medray.plugins import make_part

Figures = Mapping[str, Tensor]
"""Metric -> its values [N], or their sum; the mean over tokens is logged as `policy/metric`."""


class TokenLoss(Protocol):
    """A row always holds whole responses, so a loss may look at all the trained tokens of one."""

    def __call__(
        self, logp: Tensor, anchor: Tensor, row: RowTensors, config: PolicyConfig, /
    ) -> tuple[Tensor, Figures]:
        """Loss [N] and figures of a row.

        Args:
            logp: [N] nats, under the policy being trained; carries grad.
            anchor: [N] nats, what the ratio is taken against.
            row: `advantage` among its columns.
            config: clip bounds.
        """
        ...


def token_loss(name: LossName) -> TokenLoss:
    """The loss of that name, or your own.

    Your own returns the loss [N], or the loss and figures; it is checked each time that it is called.

    Raises:
        ConfigError: your own cannot be imported or called.
    """
    kind = kind_of(name)
    found = make_part(name, LOSS, "algorithm.loss", TOKEN_LOSSES)
    return found if kind in TOKEN_LOSSES else _checked(found, kind)


def _checked(own: Callable[..., Any], kind: str) -> TokenLoss:
    def call(
        logp: Tensor, anchor: Tensor, row: RowTensors, config: PolicyConfig
    ) -> tuple[Tensor, Figures]:
        found = own(logp, anchor, row, config)
        loss, figures = found if isinstance(found, tuple) else (found, {})
        if not isinstance(loss, Tensor) or loss.shape != logp.shape:
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise ConfigError(
                f"algorithm.loss={kind} returned {got}: it must return one loss per token, {tuple(logp.shape)}"
            )
        with torch.no_grad():
            return loss, {"ratio": log_ratio(logp, anchor).exp(), **figures}

    return call


def _clipped(
    logp: Tensor, anchor: Tensor, row: RowTensors, config: PolicyConfig
) -> tuple[Tensor, Figures]:
    advantage = row.columns["advantage"]
    bounds = (config.clip_low, config.clip_high, config.clip_dual)
    return _named(clipped_policy_loss(logp, anchor, advantage, *bounds))


def _of_sequences(
    loss: Callable[..., tuple[Tensor, PolicyStats]],
    logp: Tensor,
    anchor: Tensor,
    row: RowTensors,
    config: PolicyConfig,
) -> tuple[Tensor, Figures]:
    found = loss(
        logp,
        anchor,
        row.columns["advantage"],
        row.sequence_index,
        row.sequence_lengths,
        config.clip_low,
        config.clip_high,
    )
    return _named(found)


def _sapo(
    logp: Tensor,
    anchor: Tensor,
    row: RowTensors,
    config: PolicyConfig,
    tau_pos: float = 1.0,
    tau_neg: float = 1.05,
) -> tuple[Tensor, Figures]:
    taus = (float(tau_pos), float(tau_neg))  # options may be whole numbers in YAML
    return _named(sapo_loss(logp, anchor, row.columns["advantage"], *taus))


def _dppo(
    divergence: Literal["tv", "kl"],
    logp: Tensor,
    anchor: Tensor,
    row: RowTensors,
    config: PolicyConfig,
) -> tuple[Tensor, Figures]:
    bounds = (config.clip_low, config.clip_high)
    return _named(dppo_loss(logp, anchor, row.columns["advantage"], *bounds, divergence))


def _cispo(
    logp: Tensor, anchor: Tensor, row: RowTensors, config: PolicyConfig
) -> tuple[Tensor, Figures]:
    advantage = row.columns["advantage"]
    return _named(cispo_loss(logp, anchor, advantage, config.clip_low, config.clip_high))


def _clip_cov(
    logp: Tensor, anchor: Tensor, row: RowTensors, config: PolicyConfig, **picking: float
) -> tuple[Tensor, Figures]:
    bounds = (config.clip_low, config.clip_high, config.clip_dual)
    picked = row.columns[PICKED] > 0.5
    return _named(clip_cov_loss(logp, anchor, row.columns["advantage"], picked, *bounds))


def _kl_cov(
    logp: Tensor,
    anchor: Tensor,
    row: RowTensors,
    config: PolicyConfig,
    coef: float = 1.0,
    **picking: float,
) -> tuple[Tensor, Figures]:
    picked = row.columns[PICKED] > 0.5
    return _named(kl_cov_loss(logp, anchor, row.columns["advantage"], picked, float(coef)))


def _named(found: tuple[Tensor, PolicyStats]) -> tuple[Tensor, Figures]:
    loss, stats = found
    return loss, {"ratio": stats.ratio, "clip_share": stats.num_clipped}


TOKEN_LOSSES: dict[str, TokenLoss] = {
    "clipped": _clipped,
    "gspo": partial(_of_sequences, gspo_loss),
    "gmpo": partial(_of_sequences, gmpo_loss),
    "cispo": _cispo,
    "sapo": _sapo,
    "clip_cov": _clip_cov,
    "kl_cov": _kl_cov,
    "dppo_tv": partial(_dppo, "tv"),
    "dppo_kl": partial(_dppo, "kl"),
}
