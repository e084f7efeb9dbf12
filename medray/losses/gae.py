"""Generalised advantage estimation over a flat, ragged run of tokens."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


@torch.no_grad()
def gae(
    rewards: Float[Tensor, " N"],
    values: Float[Tensor, " N"],
    sequence_lengths: Int[Tensor, " S"],
    gamma: float,
    lam: float | Float[Tensor, " S"],
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Advantages and value targets of every token, from the end of each response backwards.

    delta_t = r_t + gamma * V_{t+1} - V_t;  A_t = delta_t + gamma * lam * A_{t+1};  return_t = A_t +
    V_t. After the last token V and A are zero, of a response that was cut off as well.

    Args:
        rewards: reward units; the tokens of response 0, then those of response 1, and so on.
        values: the critic's value before each token is chosen.
        sequence_lengths: tokens of each response; they add up to N.
        gamma: discount per token, in [0, 1].
        lam: 0 is one-step temporal difference, 1 is Monte Carlo; one for all responses, or one each.

    Returns:
        Advantages and returns, constants without grad.

    Raises:
        ValueError: sequence_lengths do not add up to N.

    Source: arXiv:1506.02438 eq. 16.
    """
    if int(sequence_lengths.sum()) != len(rewards):
        raise ValueError(
            f"sequence_lengths add up to {int(sequence_lengths.sum())}, "
            f"but there are {len(rewards)} tokens"
        )
    # Longest first, so that the responses still running at token t are a prefix.
    lengths, order = sequence_lengths.long().sort(descending=True, stable=True)
    starts = (sequence_lengths.long().cumsum(0) - sequence_lengths)[order]
    decay = gamma * torch.as_tensor(lam, dtype=values.dtype).expand(len(lengths))[order]
    next_value, next_advantage = values.new_zeros(len(lengths)), values.new_zeros(len(lengths))
    advantages = torch.empty_like(values)
    for step in reversed(range(int(lengths.max()) if len(lengths) else 0)):
        running = int((lengths > step).sum())
        at = starts[:running] + step
        delta = rewards[at] + gamma * next_value[:running] - values[at]
        advantage = delta + decay[:running] * next_advantage[:running]
        advantages[at] = advantage
        next_value[:running], next_advantage[:running] = values[at], advantage
    return advantages, advantages + values


def length_adaptive_lam(
    sequence_lengths: Int[Tensor, " S"], alpha: float, dtype: torch.dtype = torch.float64
) -> Float[Tensor, " S"]:
    """1 - 1 / (alpha * length), at least 0: the lambda of a response.

    The weights of its temporal differences then add up to about alpha * length, so that a long response
    relies on the sampled return and a short one on the critic.

    Source: VAPO, arXiv:2504.05118 ("length-adaptive GAE"); alpha = 0.05 there.
    """
    lengths = sequence_lengths.to(dtype).clamp(min=1)
    return (1 - 1 / (alpha * lengths)).clamp(min=0)
