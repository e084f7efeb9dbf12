"""Which tokens of a step lower the entropy most: those with both log-probability and advantage far above the mean.

    cov_t = (A_t - mean A) (log p_t - mean log p), means over the step's trained tokens of all ranks

Source: Clip-Cov and KL-Cov, arXiv:2505.22617. The log-probabilities are the policy's before the step, from one more
forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medray.config.parts import Part, kind_of
from medray.config.policy import PolicyConfig
from medray.learners.objectives.base import Peers
from medray.learners.scorer import Scorer
from medray.types import Continuation, PromptTree

PICKED = "picked"
"""Column that is 1 at the tokens that the loss treats apart."""
LOSSES = ("clip_cov", "kl_cov")
SHARE, LOW, HIGH = 2e-4, 1.0, 5.0
"""The authors' share of tokens, and bounds of Clip-Cov's covariance."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class StepTokens:
    """The trained tokens of a rank's trees, flat [N]."""

    logp: npt.NDArray[np.float64]
    advantage: npt.NDArray[np.float64]
    is_clipped: Bools
    key: npt.NDArray[np.uint64]
    """A hash of the token, by which tokens are drawn however they are dealt to rows and ranks."""

    @classmethod
    def joined(cls, parts: Sequence[StepTokens]) -> StepTokens:
        """Those of several parts, in their order; of none where there is no part."""
        return cls(
            np.concatenate([np.zeros(0), *(part.logp for part in parts)]),
            np.concatenate([np.zeros(0), *(part.advantage for part in parts)]),
            np.concatenate([np.zeros(0, np.bool_), *(part.is_clipped for part in parts)]),
            np.concatenate([np.zeros(0, np.uint64), *(part.key for part in parts)]),
        )


def with_picked(
    scorer: Scorer, trees: Sequence[PromptTree], peers: Peers, config: PolicyConfig
) -> list[PromptTree]:
    """Add the column `picked` to trees; every rank must call it."""
    own = _tokens(scorer, trees, config)
    known = peers.gather(own)
    first = sum(len(tokens.logp) for tokens in known[: peers.rank])
    options: dict[str, Any] = config.loss.options if isinstance(config.loss, Part) else {}
    picked = picks(known, kind_of(config.loss), **options)[first : first + len(own.logp)]
    taken = iter(
        np.split(picked, np.cumsum([c.trained.sum() for t in trees for c in t.continuations]))
    )
    return [
        replace(t, continuations=tuple(_marked(c, next(taken)) for c in t.continuations))
        for t in trees
    ]


def picks(
    ranks: Sequence[StepTokens],
    kind: str,
    share: float = SHARE,
    low: float = LOW,
    high: float = HIGH,
    coef: float = 1.0,  # of the loss itself
) -> Bools:
    """Which tokens [N] of all ranks are picked: `share` of them, at least one.

    kl_cov picks those of the largest covariance; clip_cov draws from those whose covariance lies between `low` and
    `high` and whose ratio the clip has not stopped yet.
    """
    step = StepTokens.joined(ranks)
    picked = np.zeros(len(step.logp), dtype=np.bool_)
    if not len(step.logp):
        return picked
    covariance = (step.advantage - step.advantage.mean()) * (step.logp - step.logp.mean())
    count = max(1, int(share * len(step.logp)))
    if kind == "kl_cov":
        order = np.lexsort((step.key, -covariance))
    else:
        between = (covariance > low) & (covariance < high) & ~step.is_clipped
        order = np.flatnonzero(between)
        order = order[np.argsort(step.key[order], kind="stable")]
    picked[order[:count]] = True
    return picked


def _tokens(scorer: Scorer, trees: Sequence[PromptTree], config: PolicyConfig) -> StepTokens:
    parts = [
        _of_response(continuation, logp, config)
        for tree, scored in zip(trees, scorer.logprobs(trees), strict=True)
        for continuation, logp in zip(tree.continuations, scored, strict=True)
    ]
    return StepTokens.joined(parts)


def _of_response(
    continuation: Continuation, logp: npt.NDArray[np.float32], config: PolicyConfig
) -> StepTokens:
    column = {name: values[continuation.trained] for name, values in continuation.columns.items()}
    anchor = column["behaviour_logp"]
    if config.ratio_is_to_old:
        anchor = column.get("old_logp", logp)
    ratio, advantage = np.exp(logp - anchor), column["advantage"]
    above = (advantage > 0) & (ratio > 1 + config.clip_high)
    below = (advantage < 0) & (ratio < 1 - config.clip_low)
    ids = continuation.token_ids[continuation.trained]
    return StepTokens(
        logp.astype(np.float64),
        advantage.astype(np.float64),
        above | below,
        _hash(column["behaviour_logp"], ids),
    )


def _hash(logp: npt.NDArray[Any], ids: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
    """SplitMix64 of a token's log-probability, id and place in its response."""
    bits = np.ascontiguousarray(logp, dtype=np.float32).view(np.uint32).astype(np.uint64)
    at = np.arange(len(ids), dtype=np.uint64)
    x = bits << np.uint64(32) | ids.astype(np.uint64) ^ (at << np.uint64(16))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _marked(continuation: Continuation, picked: Bools) -> Continuation:
    column = np.zeros(len(continuation.token_ids), dtype=np.float32)
    column[continuation.trained] = picked
    return replace(continuation, columns={**continuation.columns, PICKED: column})
