"""From values per token to the step's scalar, the same however the step is cut.

A step is split over micro-batches, gradient accumulation and ranks. Each part divides by a
denominator of the whole step, so the parts are summed, never averaged. A data-parallel wrapper that
averages gradients over ranks must be undone by multiplying with the number of ranks.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medray.types import StepTotals


def aggregate(
    per_token: Float[Tensor, " N"],
    sequence_index: Int[Tensor, " N"],
    sequence_lengths: Int[Tensor, " S"],
    totals: StepTotals,
    how: Literal["token", "sequence", "fixed"],
    max_new_tokens: int | None = None,
) -> Float[Tensor, ""]:
    """This micro-batch's part of the step's loss; all micro-batches and ranks add up to it.

    token: sum over tokens / num_tokens. Every trained token weighs the same (DAPO,
        arXiv:2503.14476).
    sequence: sum over responses of the mean over their tokens / num_sequences. Every response
        weighs the same, so the tokens of a long one weigh less (GRPO, arXiv:2402.03300).
    fixed: sum over tokens / (num_sequences * max_new_tokens). Neither length matters (Dr. GRPO,
        arXiv:2503.20783).

    Args:
        per_token: loss of each trained token; may be empty, the result is then a zero with a graph.
        sequence_index: response of each token, 0..S-1.
        sequence_lengths: trained tokens of each response, also those in other micro-batches.
        totals: denominators of the whole optimizer step over all ranks.
        how: see above.
        max_new_tokens: the constant length of "fixed"; ignored otherwise.

    Raises:
        ValueError: the denominator is not positive, or "fixed" lacks max_new_tokens.
    """
    if how == "token":
        return total_over(per_token, totals.num_tokens)
    if how == "sequence":
        weight = sequence_lengths.index_select(0, sequence_index.long()).to(per_token.dtype)
        return total_over(per_token / weight, totals.num_sequences)
    if max_new_tokens is None:
        raise ValueError("aggregation 'fixed' divides by max_new_tokens: pass max_new_tokens")
    return total_over(per_token, totals.num_sequences * max_new_tokens)


def total_over(values: Float[Tensor, " N"], count: int) -> Float[Tensor, ""]:
    """Sum of the values over a count of the whole step (tokens, responses or pairs)."""
    if count <= 0:
        raise ValueError(
            f"the step's denominator is {count}: a step needs at least one trained token or response"
        )
    return values.sum() / count


def sequence_sums(
    per_token: Float[Tensor, " N"], sequence_index: Int[Tensor, " N"], num_sequences: int
) -> Float[Tensor, " S"]:
    """Sum over the tokens of each response; zero for a response without tokens."""
    zeros = per_token.new_zeros(num_sequences)
    return zeros.index_add(0, sequence_index.long(), per_token)


def sequence_means(
    per_token: Float[Tensor, " N"],
    sequence_index: Int[Tensor, " N"],
    sequence_lengths: Int[Tensor, " S"],
) -> Float[Tensor, " S"]:
    """Mean over the tokens of each response; zero for a response without tokens."""
    sums = sequence_sums(per_token, sequence_index, len(sequence_lengths))
    return sums / torch.clamp(sequence_lengths, min=1)
