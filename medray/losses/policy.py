"""Policy-gradient losses over a flat run of sampled tokens; one value a token, not yet averaged.

Every loss takes the same three vectors: logp under the policy being trained (carries grad),
    behaviour_logp under the policy that sampled the token, and the advantage. `reduce.aggregate`
    turns the result into the micro-batch's part of the step's loss.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from medray.losses.kl import bernoulli_kl
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
    dual: float | None = None,
) -> tuple[Float[Tensor, " N"], PolicyStats]:
    """Clipped-ratio loss of PPO and GRPO.

    Per token: -min(r * A, clip(r, 1 - clip_low, 1 + clip_high) * A) with r = exp(logp -
        behaviour_logp), and no more than -dual * A where A < 0. The two-sided clip of INTELLECT-2,
        -min(min(r, delta) * A, clip(r) * A), is the same function with delta = dual > 1 + clip_high.

    Args:
        logp: nats, under the policy being trained; carries grad.
        behaviour_logp: nats, under the policy that sampled the token.
        advantage: reward units.
        clip_low: unitless, in [0, 1).
        clip_high: unitless, >= 0.
        dual: largest ratio of a token with a negative advantage, above 1; None does not bound it.

    Returns:
        Loss per token, and the micro-batch's statistics (detached). The ratio is constant beyond a
        log ratio of 20, so that it cannot overflow.

    Raises:
        NumericsError: behaviour_logp is not finite.

    Source: PPO, arXiv:1707.06347 eq. 7; asymmetric bounds, DAPO arXiv:2503.14476 ("Clip-Higher");
    dual clip, arXiv:1912.09729; two-sided clip, INTELLECT-2 arXiv:2505.07291.
    """
    ratio = log_ratio(logp, behaviour_logp).exp()
    loss, clipped = _clipped(ratio, advantage, clip_low, clip_high)
    if dual is not None:
        too_far = (advantage < 0) & (ratio > dual)
        loss, clipped = torch.where(too_far, -dual * advantage, loss), clipped | too_far
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


def gmpo_loss(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    advantage: Float[Tensor, " N"],
    sequence_index: Int[Tensor, " N"],
    sequence_lengths: Int[Tensor, " S"],
    clip_low: float,
    clip_high: float,
) -> tuple[Float[Tensor, " N"], PolicyStats]:
    """Loss whose ratio is the geometric mean of the response's ratios, each clipped by itself.

    With d = logp - behaviour_logp and s the sign of A, a token has g = s * min(s * d, s * clip(d,
    -clip_low, clip_high)); the response's ratio is exp(mean of g), and -ratio * A its loss at each
    token. `aggregate(how="sequence")` makes that the published objective.

    Args:
        logp, behaviour_logp, advantage, sequence_index, sequence_lengths: as in `gspo_loss`.
        clip_low, clip_high: bounds of the log ratio, nats; published 0.4 each.

    Raises:
        NumericsError: behaviour_logp is not finite.

    Source: GMPO, arXiv:2507.20673; bounds of the log ratio as in its authors' code.
    """
    gap = log_ratio(logp, behaviour_logp)
    sign = torch.where(advantage >= 0, 1.0, -1.0).to(gap.dtype)
    bounded = sign * torch.minimum(sign * gap, sign * gap.clamp(-clip_low, clip_high))
    means = sequence_means(bounded, sequence_index, sequence_lengths)
    ratio = means.index_select(0, sequence_index.long()).exp()
    return -ratio * advantage, _stats(ratio, (bounded != gap) & (advantage != 0))


def sapo_loss(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    advantage: Float[Tensor, " N"],
    tau_pos: float,
    tau_neg: float,
) -> tuple[Float[Tensor, " N"], PolicyStats]:
    """Loss whose ratio passes a soft gate instead of a clip.

    Per token: -f(r) * A with f(r) = 4 / tau * sigma(tau * (r - 1)), tau = tau_pos where A > 0 and
    tau_neg elsewhere. At r = 1 the slope of f is 1, and it falls off on both sides: no token is
    clipped, and `num_clipped` is 0.

    Args:
        logp, behaviour_logp, advantage: as in `clipped_policy_loss`.
        tau_pos, tau_neg: how fast the gate closes; published 1 and 1.05.

    Raises:
        NumericsError: behaviour_logp is not finite.

    Source: SAPO, arXiv:2511.20347.
    """
    ratio = log_ratio(logp, behaviour_logp).exp()
    tau = torch.where(advantage > 0, tau_pos, tau_neg).to(ratio.dtype)
    gate = torch.sigmoid(tau * (ratio - 1)) * 4 / tau
    return -gate * advantage, _stats(ratio, torch.zeros_like(ratio, dtype=torch.bool))


def clip_cov_loss(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    advantage: Float[Tensor, " N"],
    picked: Bool[Tensor, " N"],
    clip_low: float,
    clip_high: float,
    dual: float | None = None,
) -> tuple[Float[Tensor, " N"], PolicyStats]:
    """Clipped-ratio loss without the picked tokens, which would lower the entropy most.

    Args:
        logp, behaviour_logp, advantage, clip_low, clip_high, dual: as in `clipped_policy_loss`.
        picked: tokens that are left out; they count in denominators.

    Raises:
        NumericsError: behaviour_logp is not finite.

    Source: Clip-Cov, arXiv:2505.22617.
    """
    ratio = log_ratio(logp, behaviour_logp).exp()
    loss, clipped = _clipped(ratio, advantage, clip_low, clip_high)
    if dual is not None:
        too_far = (advantage < 0) & (ratio > dual)
        loss, clipped = torch.where(too_far, -dual * advantage, loss), clipped | too_far
    return torch.where(picked, 0.0, loss), _stats(ratio, clipped | picked)


def kl_cov_loss(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    advantage: Float[Tensor, " N"],
    picked: Bool[Tensor, " N"],
    coef: float,
) -> tuple[Float[Tensor, " N"], PolicyStats]:
    """-r * A without a clip, and coef * |log r| at the picked tokens, which holds them where they were sampled.

    `num_clipped` counts the picked tokens.

    Args:
        logp, behaviour_logp, advantage: as in `clipped_policy_loss`.
        picked: tokens with a penalty.
        coef: of the penalty, reward units a nat.

    Raises:
        NumericsError: behaviour_logp is not finite.

    Source: KL-Cov, arXiv:2505.22617; the absolute log ratio as in its authors' code.
    """
    gap = log_ratio(logp, behaviour_logp)
    ratio = gap.exp()
    return -ratio * advantage + torch.where(picked, coef * gap.abs(), 0.0), _stats(ratio, picked)


DPPO_CAP = 20.0
"""Largest weight of a token in `dppo_loss`, that of its authors' code."""


def dppo_loss(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    advantage: Float[Tensor, " N"],
    clip_low: float,
    clip_high: float,
    divergence: Literal["tv", "kl"],
) -> tuple[Float[Tensor, " N"], PolicyStats]:
    """REINFORCE with the importance weight, for tokens whose probability has not moved too far.

    Per token: -stop_gradient(min(r, 20)) * A * logp, and 0 where the advantage pushes a token further
    that has moved by more than the bound already: upwards with A > 0, downwards with A < 0. How far is
    |p - p_behaviour| ("tv"), or KL(p_behaviour || p) of the token against all others together ("kl").
    A ratio clip instead lets likely tokens move far and holds unlikely ones where they are.

    Args:
        logp, behaviour_logp, advantage: as in `clipped_policy_loss`.
        clip_low: bound on the way down, of a probability or in nats.
        clip_high: bound on the way up.
        divergence: how the distance is measured.

    Raises:
        NumericsError: behaviour_logp is not finite.

    Source: DPPO, arXiv:2602.04879 (binary TV and binary KL).
    """
    ratio = log_ratio(logp, behaviour_logp).detach().exp()
    with torch.no_grad():
        moved = logp.exp() - behaviour_logp.exp()
        far = moved.abs() if divergence == "tv" else bernoulli_kl(behaviour_logp, logp)
        rises, falls = (advantage > 0) & (moved > 0), (advantage < 0) & (moved < 0)
        dropped = (rises & (far > clip_high)) | (falls & (far > clip_low))
    weight = torch.where(dropped, 0.0, ratio.clamp(max=DPPO_CAP))
    return -weight * advantage * logp, _stats(ratio, dropped)


def off_policy_mask(
    logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
    advantage: Float[Tensor, " N"],
    sequence_index: Int[Tensor, " N"],
    sequence_lengths: Int[Tensor, " S"],
    threshold: float,
) -> Bool[Tensor, " N"]:
    """False for the tokens with a negative advantage of a response that has become too unlikely.

    Too unlikely: the mean over the response of behaviour_logp - logp is above the threshold. A policy
    learns little from mistakes that it no longer makes, and they upset it.

    Args:
        logp, behaviour_logp, advantage, sequence_index, sequence_lengths: as in `gspo_loss`.
        threshold: nats a token.

    Raises:
        NumericsError: behaviour_logp is not finite.

    Source: off-policy sequence masking, DeepSeek-V3.2 arXiv:2512.02556 eq. 9, which gives no threshold;
    TRL suggests 0.5.
    """
    gap = log_ratio(logp.detach(), behaviour_logp)
    far = -sequence_means(gap, sequence_index, sequence_lengths) > threshold
    return (advantage >= 0) | ~far.index_select(0, sequence_index.long())


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
