"""Reading a row as responses and as pairs of a chosen and a rejected one."""

from __future__ import annotations

from torch import Tensor

from medray.errors import DataError
from medray.learners.objectives.base import RowTensors
from medray.losses.reduce import sequence_means, sequence_sums


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
