"""The critic's loss."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def clipped_value_loss(
    values: Float[Tensor, " N"],
    old_values: Float[Tensor, " N"],
    returns: Float[Tensor, " N"],
    clip: float | None,
) -> tuple[Float[Tensor, " N"], Bool[Tensor, " N"]]:
    """Half the squared error of the value, pessimistic about steps beyond the clip.

    Per token: 0.5 * max((V - R)^2, (V_old + clip(V - V_old, -clip, clip) - R)^2).

    Args:
        values: the critic's values; carry grad.
        old_values: its values when the batch was sampled; constants.
        returns: targets; constants.
        clip: reward units; None leaves the plain squared error.

    Returns:
        Loss per token, and which tokens lost their gradient to the clip.

    Source: PPO as implemented in OpenAI baselines; studied in arXiv:2005.12729.
    """
    plain = (values - returns).square()
    if clip is None:
        return 0.5 * plain, torch.zeros_like(values, dtype=torch.bool)
    near = old_values + (values - old_values).clamp(-clip, clip)
    bounded = (near - returns).square()
    clipped = (bounded > plain) & ((values - old_values).abs() > clip)
    return 0.5 * torch.maximum(plain, bounded), clipped
