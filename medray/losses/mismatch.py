"""Corrections for an engine whose probabilities differ slightly from the learner's.

All take the learner's logp under the very weights that sampled (before any update on the batch) and
the engine's behaviour_logp, and give a constant factor for the loss of each token. A token of
factor zero still counts in the denominator unless the caller leaves it out of the totals. A
behaviour_logp that is not finite raises NumericsError.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from medray.losses.kl import LOG_RATIO_BOUND
from medray.losses.ratio import log_ratio
from medray.losses.reduce import sequence_means, sequence_sums


@torch.no_grad()
def tis_weight(
    logp: Float[Tensor, " N"], behaviour_logp: Float[Tensor, " N"], cap: float = 2.0
) -> Float[Tensor, " N"]:
    """Truncated importance sampling: min(exp(logp - behaviour_logp), cap) per token.

    Source: F. Yao et al., "Your efficient RL framework secretly brings you off-policy RL training",
    2025.
    """
    return log_ratio(logp, behaviour_logp).exp().clamp(max=cap)


@torch.no_grad()
def icepop_weight(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    low: float = 0.5,
    high: float = 5.0,
) -> Float[Tensor, " N"]:
    """exp(logp - behaviour_logp) where it lies in [low, high], zero elsewhere.

    Source: IcePop, Ring-1T arXiv:2510.18855.
    """
    ratio = log_ratio(logp, behaviour_logp).exp()
    return torch.where((ratio >= low) & (ratio <= high), ratio, 0.0)


@torch.no_grad()
def sequence_tis_weight(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    sequence_index: Int[Tensor, " N"],
    sequence_lengths: Int[Tensor, " S"],
    cap: float = 2.0,
) -> Float[Tensor, " N"]:
    """min(product over the response of exp(logp - behaviour_logp), cap) at each of its tokens.

    The product is the importance weight of the response as a whole, so without the cap the gradient is
    unbiased; a product of token weights taken one by one is not. All trained tokens of a response have
    to be in the run. The log of the product is constant beyond 20 nats.

    Source: sequence-level truncated importance sampling, J. Liu et al., "When speed kills stability:
    demystifying RL collapse from the training-inference mismatch", 2025.
    """
    product = _sequence_product(logp, behaviour_logp, sequence_index, sequence_lengths)
    return product.clamp(max=cap)


@torch.no_grad()
def sequence_mis_weight(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    sequence_index: Int[Tensor, " N"],
    sequence_lengths: Int[Tensor, " S"],
    low: float = 0.0,
    high: float = 2.0,
) -> Float[Tensor, " N"]:
    """The product of `sequence_tis_weight` where it lies in [low, high], zero elsewhere.

    Source: masked importance sampling, J. Liu et al. as in `sequence_tis_weight`.
    """
    product = _sequence_product(logp, behaviour_logp, sequence_index, sequence_lengths)
    return torch.where((product >= low) & (product <= high), product, 0.0)


@torch.no_grad()
def sequence_mask(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    sequence_index: Int[Tensor, " N"],
    sequence_lengths: Int[Tensor, " S"],
    low: float,
    high: float,
) -> Bool[Tensor, " N"]:
    """True for every token of a response whose geometric mean ratio lies in [low, high].

    The mean is exp(mean over the response of (logp - behaviour_logp)), so its bounds do not depend
    on the response's length. All trained tokens of a response have to be in the run.

    Source: J. Liu et al., "When speed kills stability: demystifying RL collapse from the
    training-inference mismatch", 2025 (masked sequence importance sampling); the geometric mean as
    in GSPO, arXiv:2507.18071.
    """
    mean = sequence_means(log_ratio(logp, behaviour_logp), sequence_index, sequence_lengths).exp()
    return ((mean >= low) & (mean <= high)).index_select(0, sequence_index.long())


def _sequence_product(
    logp: Tensor, behaviour_logp: Tensor, sequence_index: Tensor, sequence_lengths: Tensor
) -> Tensor:
    """Product of a response's ratios, at each of its tokens."""
    gap = log_ratio(logp, behaviour_logp)
    sums = sequence_sums(gap, sequence_index, len(sequence_lengths))
    return (
        sums.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp().index_select(0, sequence_index.long())
    )
