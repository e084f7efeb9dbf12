"""Losses that look at both log ratios of a preference pair, and margins of other divergences than the KL.

The gain of a response is logp - ref_logp in nats, of the whole response or a token on average. Letters: B pairs, g_w
and g_l the gains of the chosen and the rejected response, sigma the logistic function.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from medray.losses.reduce import sequence_means

GAIN_BOUND = 20.0
"""Ratios are constant beyond this log ratio, so that one pair cannot overflow the step."""
Divergence = Literal["reverse_kl", "forward_kl", "js", "alpha"]


def divergence_margin(
    chosen_gain: Float[Tensor, " B"],
    rejected_gain: Float[Tensor, " B"],
    divergence: Divergence,
    alpha: float = 0.5,
) -> Float[Tensor, " B"]:
    """f'(u_w) - f'(u_l) with u = exp(gain): the margin of DPO under an f-divergence to the reference.

        reverse_kl   f'(u) = log u (+ constant)        DPO itself
        forward_kl   -1 / u
        js           log(2 u / (1 + u))
        alpha        (1 - u^-alpha) / alpha            towards reverse_kl as alpha goes to 0; forward_kl at 1

    Args:
        chosen_gain, rejected_gain: nats.
        divergence: which of them.
        alpha: of the alpha divergence, in (0, 1).

    Source: f-DPO, arXiv:2309.16240.
    """
    return _slope(chosen_gain, divergence, alpha) - _slope(rejected_gain, divergence, alpha)


def _slope(gain: Tensor, divergence: Divergence, alpha: float) -> Tensor:
    if divergence == "reverse_kl":
        return gain
    if divergence == "js":
        return math.log(2) + F.logsigmoid(gain)
    bounded = gain.clamp(-GAIN_BOUND, GAIN_BOUND)
    if divergence == "forward_kl":
        return -torch.exp(-bounded)
    return -torch.expm1(-alpha * bounded) / alpha


def exo_loss(
    margin: Float[Tensor, " B"], beta: float, label_smoothing: float
) -> Float[Tensor, " B"]:
    """KL of (sigma(beta m), sigma(-beta m)) from the smoothed label (1 - e, e): the reverse of DPO's direction.

    Source: EXO, arXiv:2402.00856 eq. 16.
    """
    if not 0 < label_smoothing < 0.5:
        raise ValueError(f"label_smoothing={label_smoothing} must lie in (0, 0.5) for EXO")
    right, wrong = F.logsigmoid(beta * margin), F.logsigmoid(-beta * margin)
    return right.exp() * (right - math.log1p(-label_smoothing)) + wrong.exp() * (
        wrong - math.log(label_smoothing)
    )


def nca_loss(
    chosen_gain: Float[Tensor, " B"], rejected_gain: Float[Tensor, " B"], beta: float
) -> Float[Tensor, " B"]:
    """-log sigma(beta g_w) - (log sigma(-beta g_w) + log sigma(-beta g_l)) / 2.

    It acts on each response's likelihood, so the chosen one does not sink together with the rejected one.

    Source: NCA, arXiv:2402.05369, for pairs.
    """
    w, x = beta * chosen_gain, beta * rejected_gain
    return -F.logsigmoid(w) - 0.5 * (F.logsigmoid(-w) + F.logsigmoid(-x))


def sppo_loss(
    chosen_gain: Float[Tensor, " B"], rejected_gain: Float[Tensor, " B"], beta: float
) -> Float[Tensor, " B"]:
    """(g_w - 1 / (2 beta))^2 + (g_l + 1 / (2 beta))^2: labels of 1 and 0 as probabilities of winning; eta = 1 / beta.

    Source: SPPO, arXiv:2405.00675 eq. 4.7 with hard labels.
    """
    half = 0.5 / beta
    return (chosen_gain - half).square() + (rejected_gain + half).square()


def bco_loss(
    chosen_gain: Float[Tensor, " B"],
    rejected_gain: Float[Tensor, " B"],
    beta: float,
    shift: float,
) -> Float[Tensor, " B"]:
    """-log sigma(beta g_w - shift) - log sigma(-(beta g_l - shift)): each response classified by itself.

    Args:
        chosen_gain, rejected_gain: nats.
        beta: scale of the gains.
        shift: mean of beta * gain over all responses of the step, a constant.

    Source: BCO, arXiv:2404.04656; for pairs as in TRL.
    """
    chosen, rejected = beta * chosen_gain - shift, beta * rejected_gain - shift
    return -F.logsigmoid(chosen) - F.logsigmoid(-rejected)


def policy_weights(
    logp: Float[Tensor, " N"],
    collision: Float[Tensor, " N"],
    sequence_index: Int[Tensor, " N"],
    sequence_lengths: Int[Tensor, " S"],
) -> Float[Tensor, " S"]:
    """exp(mean over tokens of (log p - log sum of p^2)), a constant: how likely the policy is to say a response.

    The sum of squares is the mean probability of a token that the policy samples, so its own responses weigh about 1.

    Source: WPO with sampled alignment, arXiv:2406.11827 eq. 2; the weight of a pair is the product, at most 1.
    """
    aligned = (logp - collision).detach().double()
    return sequence_means(aligned, sequence_index, sequence_lengths).exp()


def apo_zero_loss(
    chosen_gain: Float[Tensor, " B"], rejected_gain: Float[Tensor, " B"], beta: float
) -> Float[Tensor, " B"]:
    """1 - sigma(beta g_w) + sigma(beta g_l): raises the chosen and lowers the rejected response.

    For chosen responses that are better than what the policy says.

    Source: APO-zero, arXiv:2408.06266 eq. 7.
    """
    return torch.sigmoid(-beta * chosen_gain) + torch.sigmoid(beta * rejected_gain)


def apo_down_loss(
    chosen_gain: Float[Tensor, " B"], rejected_gain: Float[Tensor, " B"], beta: float
) -> Float[Tensor, " B"]:
    """sigma(beta g_w) + 1 - sigma(beta (g_w - g_l)): lowers both, the rejected response more.

    For chosen responses that are worse than what the policy says.

    Source: APO-down, arXiv:2408.06266 eq. 8.
    """
    margin = chosen_gain - rejected_gain
    return torch.sigmoid(beta * chosen_gain) + torch.sigmoid(-beta * margin)


def discopop_loss(
    margin: Float[Tensor, " B"], beta: float, tau: float = 0.05
) -> Float[Tensor, " B"]:
    """(1 - s) * -log sigma(beta m) + s * exp(-beta m) with s = sigma(beta m / tau).

    Source: DiscoPOP (log-ratio modulated loss), arXiv:2406.08414 eq. 5; tau = 0.05 there.
    """
    logits = beta * margin
    share = torch.sigmoid(logits / tau)
    # Where logits are far below 0, share is far smaller than exp(-logits) is large.
    return -F.logsigmoid(logits) * (1 - share) + torch.exp(-logits.clamp(min=-30)) * share
