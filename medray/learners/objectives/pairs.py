"""Reading a row as responses and as pairs of a chosen and a rejected one, and all pairs of a step before its first
gradient, for losses that compare a pair with the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from medray.errors import DataError
from medray.learners.objectives.base import Peers, RowTensors
from medray.learners.scorer import Scorer
from medray.losses.reduce import sequence_means, sequence_sums
from medray.types import Continuation, Floats, PromptTree

Vector = npt.NDArray[np.float64]
PARTNER = "partner"
"""Column of what a response is compared with, nats."""


def response_sums(per_token: Tensor, row: RowTensors) -> Tensor:
    """Sum over the trained tokens of each response [S], in float64."""
    return sequence_sums(per_token.double(), row.sequence_index, len(row.sequence_lengths))


def response_means(per_token: Tensor, row: RowTensors) -> Tensor:
    """Mean over the trained tokens of each response [S], in float64; reads a per-response column too."""
    return sequence_means(per_token.double(), row.sequence_index, row.sequence_lengths)


def split_pairs(per_response: Tensor, row: RowTensors) -> tuple[Tensor, Tensor]:
    """The chosen and the rejected half [B] of values a response [S]; each tree is one pair, chosen first.

    Raises:
        DataError: a tree is no pair.
    """
    if any(size != 2 for size in row.tree_sizes):
        raise DataError(
            f"a preference pair has two responses, but the row has prompts with {sorted(set(row.tree_sizes))} responses"
        )
    return per_response[0::2], per_response[1::2]


def wins(margin: Tensor) -> float:
    """How many margins are positive; a tie counts half."""
    return float((margin > 0).sum()) + 0.5 * float((margin == 0).sum())


@dataclass(frozen=True)
class PairLogps:
    """Log-probabilities of the chosen and the rejected response of each pair [B, 2], nats, and the reference's."""

    policy: Vector
    reference: Vector

    @property
    def gains(self) -> Vector:
        """Log ratios to the reference [B, 2]."""
        return self.policy - self.reference


def pair_logps(scorer: Scorer, trees: Sequence[PromptTree], *, by_length: bool) -> PairLogps:
    """Score this rank's pairs under the present weights; per token on average where `by_length`."""
    reduce = np.mean if by_length else np.sum
    policy, reference = np.zeros((len(trees), 2)), np.zeros((len(trees), 2))
    for b, (tree, scored) in enumerate(zip(trees, scorer.logprobs(trees), strict=True)):
        for side, (continuation, logp) in enumerate(zip(tree.continuations, scored, strict=True)):
            policy[b, side] = reduce(logp.astype(np.float64))
            known: Floats = continuation.columns["ref_logp"][continuation.trained]  # type: ignore[assignment]
            reference[b, side] = reduce(known.astype(np.float64))
    return PairLogps(policy, reference)


def with_partners(
    trees: Sequence[PromptTree],
    own: PairLogps,
    peers: Peers,
    kind: Literal["aot", "aot_unpaired"],
) -> list[PromptTree]:
    """Give each response a column with its partner: what has its rank among the values that it is compared with.

    aot: margins of the policy are compared with those of the reference; both responses hold the reference's.
    aot_unpaired: gains of chosen responses are compared with those of rejected ones, and hold each other's.
    """
    if kind == "aot":
        left, right = (x[:, 0] - x[:, 1] for x in (own.policy, own.reference))
    else:
        left, right = own.gains[:, 0], own.gains[:, 1]
    known = peers.gather((left, right))
    first = sum(len(values) for values, _ in known[: peers.rank])
    all_left, all_right = (np.concatenate([pair[side] for pair in known]) for side in range(2))
    mine = slice(first, first + len(trees))
    of_left = _partners(all_left, all_right)[mine]
    of_right = of_left if kind == "aot" else _partners(all_right, all_left)[mine]
    return [
        replace(tree, continuations=tuple(map(_with_partner, tree.continuations, partners)))
        for tree, partners in zip(trees, zip(of_left, of_right, strict=True), strict=True)
    ]


def _partners(values: Vector, others: Vector) -> Vector:
    """For each value the one of `others` that has its rank."""
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return np.sort(others)[ranks]


def _with_partner(continuation: Continuation, partner: float) -> Continuation:
    column = np.full(len(continuation.token_ids), partner, dtype=np.float32)
    return replace(continuation, columns={**continuation.columns, PARTNER: column})
