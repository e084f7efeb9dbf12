"""What each sampled token earns in PPO: the KL to the reference at every token, the score at the last one."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from medray.config.parts import KlEstimatorName
from medray.losses.kl import kl_estimator


@torch.no_grad()
def token_rewards(
    behaviour_logp: Float[Tensor, " N"],
    ref_logp: Float[Tensor, " N"] | None,
    scores: Float[Tensor, " S"],
    sequence_lengths: Int[Tensor, " S"],
    *,
    kl_coef: float,
    estimator: KlEstimatorName,
) -> Float[Tensor, " N"]:
    """r_t = -kl_coef * kl_t, and the score of the response added at its last token.

    With k1 the sum over a response is its score less kl_coef times its log ratio to the reference.

    Args:
        behaviour_logp: nats, under the policy that sampled the tokens.
        ref_logp: nats, under the reference; None leaves the penalty out.
        scores: reward units; one a response.
        sequence_lengths: tokens of each response, at least one; they add up to N.
        kl_coef: reward units a nat.
        estimator: how the KL of a token is estimated.

    Raises:
        ValueError: sequence_lengths do not add up to N, or a response has no token to carry its score.

    Source: arXiv:1909.08593 eq. 2, spread over tokens as in arXiv:2203.02155.
    """
    lengths = sequence_lengths.long()
    if int(lengths.sum()) != len(behaviour_logp) or bool((lengths < 1).any()):
        raise ValueError(
            f"sequence_lengths must be positive and add up to {len(behaviour_logp)} tokens, "
            f"not to {int(lengths.sum())}"
        )
    rewards = torch.zeros_like(behaviour_logp)
    if ref_logp is not None:
        rewards = -kl_coef * kl_estimator(estimator)(behaviour_logp, ref_logp)
    return rewards.index_add(0, lengths.cumsum(0) - 1, scores.to(rewards.dtype))


def final_scores(
    scores: Float[Tensor, " S"], stopped: Bool[Tensor, " S"], missing_eos_penalty: float
) -> Float[Tensor, " S"]:
    """Scores less the penalty where a response did not end by itself."""
    return scores - missing_eos_penalty * (~stopped).to(scores.dtype)
