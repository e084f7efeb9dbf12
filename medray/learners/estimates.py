"""Advantages and returns of a group's tokens: the part of PPO between the passes and the updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medray.config.ppo import PpoConfig
from medray.losses.gae import gae, length_adaptive_lam
from medray.losses.moments import Moments
from medray.losses.token_rewards import final_scores, token_rewards
from medray.types import Floats, RolloutGroup


@dataclass(frozen=True)
class Estimates:
    """Per response [G] of a group, one value a token that the policy sampled [N]."""

    advantages: tuple[Floats, ...]
    returns: tuple[Floats, ...]
    values: tuple[Floats, ...]  # the critic's, when the batch was sampled


@dataclass(frozen=True)
class EstimateSummary:
    """What the driver knows of a group's estimates."""

    advantages: Moments  # of the tokens that are trained on
    returns: Moments
    response_advantages: tuple[float, ...]  # [G] mean over the response's tokens, before whitening
    scores: tuple[float, ...]  # [G] less the penalty for a missing end
    residuals: Moments  # of returns less values


def estimate(
    group: RolloutGroup,
    values: Sequence[Floats],
    ref_logp: Sequence[Floats] | None,
    scores: Sequence[float] | Floats,
    config: PpoConfig,
    kl_coef: float,
) -> tuple[EstimateSummary, Estimates]:
    """Spread the scores of a group's responses over their tokens.

    A response that was cut off counts as over: what it is worth is its score, less `missing_eos_penalty`.

    Args:
        group: prompt and its G responses.
        values: [G][N] the critic's values at the tokens that the policy sampled.
        ref_logp: [G][N] the reference's log-probabilities (nats); None without a penalty in the reward.
        scores: [G] shaped rewards.
        config: discount, lambda, estimator, penalties.
        kl_coef: the coefficient in force.
    """
    lengths = torch.tensor([r.num_sampled for r in group.responses])
    stopped = torch.tensor([r.finish_reason == "stop" for r in group.responses])
    final = final_scores(
        torch.as_tensor(np.asarray(scores), dtype=torch.float64),
        stopped,
        config.shaping.missing_eos_penalty,
    )
    rewards = token_rewards(
        _flat([r.sampled_logp for r in group.responses]),
        None if ref_logp is None else _flat(ref_logp),
        final,
        lengths,
        kl_coef=kl_coef,
        estimator=config.kl.estimator,
    )
    lam = config.lam
    if config.lam_alpha is not None:
        lam = length_adaptive_lam(lengths, config.lam_alpha)
    flat = _flat(values)
    advantages, returns = gae(rewards, flat, lengths, config.gamma, lam)
    residuals = advantages
    if config.value_lam is not None:
        residuals, returns = gae(rewards, flat, lengths, config.gamma, config.value_lam)
    per_response = [part.mean().item() for part in advantages.split(lengths.tolist())]
    trained = torch.ones(len(lengths), dtype=torch.bool)
    if config.mask_truncated:
        trained = torch.tensor([r.finish_reason != "length" for r in group.responses])
    summary = EstimateSummary(
        Moments.of(advantages[torch.repeat_interleave(trained, lengths)].tolist()),
        Moments.of(returns.tolist()),
        tuple(per_response),
        tuple(final.tolist()),
        Moments.of(residuals.tolist()),
    )
    ends = np.cumsum(lengths.numpy())[:-1]
    split = [tuple(np.split(t.numpy().astype(np.float32), ends)) for t in (advantages, returns)]
    return summary, Estimates(split[0], split[1], tuple(values))


def _flat(per_response: Sequence[Floats]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(list(per_response)).astype(np.float64))
