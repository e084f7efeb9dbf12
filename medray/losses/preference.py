"""Losses on preferred and dispreferred responses, one value a pair or a response.

Log-probabilities are of whole responses, in nats: sums over trained tokens, or means where a name
says so (`reduce.sequence_sums`, `reduce.sequence_means`). `reduce.total_over(values, num_pairs)`
makes the micro-batch's part of the step's loss. Letters: B pairs or responses, sigma the logistic
function.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def dpo_loss(
    margin: Float[Tensor, " B"], beta: float, label_smoothing: float = 0.0
) -> Float[Tensor, " B"]:
    """-(1 - e) * log sigma(beta * m) - e * log sigma(-beta * m), e the label smoothing.

    With e = 0 it is DPO; with e > 0 it is conservative DPO, which takes each label to be wrong with
    probability e and stops widening the margin there.

    Source: DPO, arXiv:2305.18290 eq. 7; cDPO, E. Mitchell, "A note on DPO with noisy preferences",
    2023.
    """
    _require_smoothing(label_smoothing)
    right, wrong = F.logsigmoid(beta * margin), F.logsigmoid(-beta * margin)
    return -(1 - label_smoothing) * right - label_smoothing * wrong


def robust_dpo_loss(
    margin: Float[Tensor, " B"], beta: float, label_smoothing: float
) -> Float[Tensor, " B"]:
    """(-(1 - e) * log sigma(beta * m) + e * log sigma(-beta * m)) / (1 - 2 e).

    Unbiased for the noise-free DPO loss when labels are flipped with probability e; may be
    negative.

    Source: arXiv:2403.00409.
    """
    _require_smoothing(label_smoothing)
    right, wrong = F.logsigmoid(beta * margin), F.logsigmoid(-beta * margin)
    return (-(1 - label_smoothing) * right + label_smoothing * wrong) / (1 - 2 * label_smoothing)


def ipo_loss(margin: Float[Tensor, " B"], beta: float) -> Float[Tensor, " B"]:
    """(m - 1 / (2 * beta))^2; the paper's tau is beta.

    The authors confirm that margins of mean log-probabilities are meant (huggingface/trl blog "pref-tuning", 2024): a
    margin of sums has to reach the same 1 / (2 * beta) whatever the responses' lengths.

    Source: IPO, arXiv:2310.12036 eq. 17.
    """
    return (margin - 1 / (2 * beta)).square()


def hinge_loss(margin: Float[Tensor, " B"], beta: float) -> Float[Tensor, " B"]:
    """max(0, 1 - beta * m).

    Source: SLiC-HF, arXiv:2305.10425; on this margin in RSO, arXiv:2309.06657.
    """
    return torch.relu(1 - beta * margin)


def simpo_loss(
    chosen_mean_logp: Float[Tensor, " B"],
    rejected_mean_logp: Float[Tensor, " B"],
    beta: float,
    gamma: float,
) -> Float[Tensor, " B"]:
    """-log sigma(beta * (chosen - rejected) - gamma) on mean log-probabilities; no reference.

    Args:
        chosen_mean_logp, rejected_mean_logp: nats a token.
        beta: scale; published values are 2 to 10.
        gamma: target margin, in units of the scaled difference.

    Source: SimPO, arXiv:2405.14734 eq. 6.
    """
    return -F.logsigmoid(beta * (chosen_mean_logp - rejected_mean_logp) - gamma)


def log_odds_ratio(
    chosen_mean_logp: Float[Tensor, " B"], rejected_mean_logp: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """log(odds(chosen) / odds(rejected)), odds(p) = p / (1 - p) with p = exp(mean logp)."""
    return _log_odds(chosen_mean_logp) - _log_odds(rejected_mean_logp)


def orpo_loss(
    chosen_mean_logp: Float[Tensor, " B"], rejected_mean_logp: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """-log sigma(log odds ratio): the term that ORPO adds, times its weight, to the chosen's NLL.

    Source: ORPO, arXiv:2403.07691 eq. 6 and 7.
    """
    return -F.logsigmoid(log_odds_ratio(chosen_mean_logp, rejected_mean_logp))


def kto_reference_point(log_ratio_sum: Float[Tensor, ""], num_responses: int) -> Float[Tensor, ""]:
    """z = max(0, log_ratio_sum / num_responses), a constant: the KL that gains are measured from.

    Args:
        log_ratio_sum: sum of (logp - ref_logp) over responses paired with a prompt they do not
            belong to. It must span the whole optimizer step and all ranks, or the loss depends on
            how these are cut.
        num_responses: how many are in that sum.
    """
    if num_responses <= 0:
        raise ValueError("the KTO reference point needs at least one mismatched response")
    return (log_ratio_sum.detach() / num_responses).clamp(min=0)


def kto_loss(
    logp: Float[Tensor, " B"],
    ref_logp: Float[Tensor, " B"],
    desirable: Bool[Tensor, " B"],
    reference_point: Float[Tensor, ""],
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Float[Tensor, " B"]:
    """w * (1 - sigma(s * beta * (logp - ref_logp - z))), z the reference point.

    s = 1 and w = desirable_weight for a desirable response, s = -1 and w = undesirable_weight for
    another. Responses need no partner; the weights should even out the two classes.

    Source: KTO, arXiv:2402.01306.
    """
    gain = beta * (logp - ref_logp - reference_point)
    sign = torch.where(desirable, logp.new_tensor(1), logp.new_tensor(-1))
    weight = torch.where(
        desirable, logp.new_tensor(desirable_weight), logp.new_tensor(undesirable_weight)
    )
    return weight * torch.sigmoid(-sign * gain)


def bradley_terry_loss(
    chosen_reward: Float[Tensor, " B"],
    rejected_reward: Float[Tensor, " B"],
    margin: Float[Tensor, " B"] | None = None,
    centring: float = 0.0,
) -> Float[Tensor, " B"]:
    """-log sigma(chosen - rejected - margin) + centring * (chosen + rejected)^2.

    Args:
        chosen_reward, rejected_reward: the reward model's scores; carry grad.
        margin: by how much the chosen is better, in reward units; zero when not given.
        centring: factor of the term that keeps scores around zero, which the first term leaves
            free.

    Source: margin, Llama 2 arXiv:2307.09288 eq. 2; centring, arXiv:2312.09244.
    """
    gap = chosen_reward - rejected_reward
    loss = -F.logsigmoid(gap if margin is None else gap - margin)
    if centring:
        loss = loss + centring * (chosen_reward + rejected_reward).square()
    return loss


def _log_odds(mean_logp: Tensor) -> Tensor:
    # log p - log(1 - p). A probability of 1 has no odds, so logp stops one rounding step below 0.
    mean_logp = mean_logp.clamp(max=-torch.finfo(mean_logp.dtype).eps)
    return mean_logp - torch.log(-torch.expm1(mean_logp))


def _require_smoothing(label_smoothing: float) -> None:
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing={label_smoothing} must lie in [0, 0.5)")
