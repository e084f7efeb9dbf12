"""Policy-gradient losses over a flat run of sampled tokens; one value a token, not yet averaged.

Every loss takes the same three vectors: logp under the policy being trained (carries grad),
    behaviour_logp under the policy that sampled the token, and the advantage. `reduce.aggregate`
    turns the result into the micro-batch's part of the step's loss.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medray.losses.ratio import log_ratio
from medray.losses.reduce import sequence_means


@dataclass(frozen=True, slots=True)
class PolicyStats:
    """Sums over the tokens of one micro-batch: of the ratios, and of the tokens whose gradient the clip removed."""

    ratio: Float[Tensor, ""]
    num_clipped: Float[Tensor, ""]


def clipped_policy_loss(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    advantage: Float[Tensor, " N"],
    clip_low: float,
    clip_high: float,
) -> tuple[Float[Tensor, " N"], PolicyStats]:
    """Clipped-ratio loss of PPO and GRPO.

    Per token: -min(r * A, clip(r, 1 - clip_low, 1 + clip_high) * A) with r = exp(logp -
        behaviour_logp).

    Args:
        logp: nats, under the policy being trained; carries grad.
        behaviour_logp: nats, under the policy that sampled the token.
        advantage: reward units.
        clip_low: unitless, in [0, 1).
        clip_high: unitless, >= 0.

    Returns:
        Loss per token, and the micro-batch's statistics (detached). The ratio is constant beyond a
        log ratio of 20, so that it cannot overflow.

    Raises:
        NumericsError: behaviour_logp is not finite.

    Source: PPO, arXiv:1707.06347 eq. 7; asymmetric bounds, DAPO arXiv:2503.14476 ("Clip-Higher").
    """
    ratio = log_ratio(logp, behaviour_logp).exp()
    loss, clipped = _clipped(ratio, advantage, clip_low, clip_high)
    return loss, _stats(ratio, clipped)


def gspo_loss(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    advantage: Float[Tensor, " N"],
    sequence_index: Int[Tensor, " N"],
    sequence_lengths: Int[Tensor, " S"],
    clip_low: float,
    clip_high: float,
) -> tuple[Float[Tensor, " N"], PolicyStats]:
    """Clipped loss whose ratio is that of the whole response, shared by its tokens.

    s = exp(mean over the response of (logp - behaviour_logp)); per token -min(s * A, clip(s) * A).
    Under `aggregate(how="sequence")` this is the published objective. A response must not be split
    over micro-batches: all its trained tokens have to be in the run.

    Args:
        logp, behaviour_logp, advantage, clip_low, clip_high: as in `clipped_policy_loss`; published
            bounds are of the order 3e-4.
        sequence_index: response of each token, 0..S-1.
        sequence_lengths: trained tokens of each response.

    Raises:
        NumericsError: behaviour_logp is not finite.

    Source: GSPO, arXiv:2507.18071 eq. 5 and 7.
    """
    means = sequence_means(log_ratio(logp, behaviour_logp), sequence_index, sequence_lengths)
    ratio = means.index_select(0, sequence_index.long()).exp()
    loss, clipped = _clipped(ratio, advantage, clip_low, clip_high)
    return loss, _stats(ratio, clipped)


def cispo_loss(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    advantage: Float[Tensor, " N"],
    clip_low: float,
    clip_high: float,
) -> tuple[Float[Tensor, " N"], PolicyStats]:
    """REINFORCE weighted by a clipped constant ratio, so no token loses its gradient.

    Per token: -stop_gradient(clip(r, 1 - clip_low, 1 + clip_high)) * A * logp. `num_clipped` counts
        the ratios outside the bounds. clip_low = 1 leaves the ratio unbounded below, as published.

    Raises:
        NumericsError: behaviour_logp is not finite.

    Source: CISPO, MiniMax-M1 arXiv:2506.13585 eq. 4 and 5.
    """
    ratio = log_ratio(logp, behaviour_logp).detach().exp()
    bounded = ratio.clamp(1 - clip_low, 1 + clip_high)
    return -bounded * advantage * logp, _stats(ratio, bounded != ratio)


def _clipped(
    ratio: Tensor, advantage: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    low, high = 1 - clip_low, 1 + clip_high
    loss = -torch.minimum(ratio * advantage, ratio.clamp(low, high) * advantage)
    clipped = ((advantage > 0) & (ratio > high)) | ((advantage < 0) & (ratio < low))
    return loss, clipped


@torch.no_grad()
def _stats(ratio: Tensor, clipped: Tensor) -> PolicyStats:
    return PolicyStats(ratio=ratio.sum(), num_clipped=clipped.sum().to(ratio.dtype))
