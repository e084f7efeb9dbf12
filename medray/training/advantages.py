"""From graded groups to advantages: reward shaping, then the estimator that the configuration names.

All of it is arithmetic on one float a response, so it happens in the driver, over the whole batch at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from medray.actors.groups import GroupHandle
from medray.config.algorithms.base import AlgorithmConfig, GroupScaled
from medray.config.algorithms.pass_at_k import PassAtK
from medray.config.parts import ADVANTAGE, kind_of
from medray.errors import DataError, NumericsError
from medray.losses.advantages import (
    gdpo_advantages,
    group_advantages,
    opo_advantages,
    pass_at_k_advantages,
    reinforce_pp_advantages,
    reinforce_pp_baseline_advantages,
    reinforce_pp_kl_advantages,
    remax_advantages,
    rloo_advantages,
    soft_overlong_penalty,
)
from medray.plugins import make_part
from medray.training.batch import trained_responses
from medray.types import Floats, ResponseKl

Rewards = Sequence[Sequence[float]]  # [P][G]


@dataclass(frozen=True)
class Graded:
    """What an estimator may read of a batch."""

    rewards: Rewards
    """[P][G], penalties included."""
    num_tokens: Sequence[Sequence[int]]
    """[P][G] tokens that the policy sampled."""
    greedy_rewards: Sequence[float] = ()
    """[P] of the greedy responses, for estimators that need them."""
    terms: Sequence[tuple[float, Rewards]] = ()
    """Weight and [P][G] values of each reward, and of the penalties where there are any, for estimators that need
    them; their sum is `rewards`."""
    num_trained: Sequence[Sequence[int]] = ()
    """[P][G] `num_tokens`, but 0 for responses that are not trained on; (): all are."""
    kl: Sequence[Sequence[ResponseKl]] = ()
    """[P][G] where a KL in the reward is left to the estimator, which sees it token by token; `rewards` lack it."""


@dataclass(frozen=True)
class Advantages:
    """What an estimator makes of a batch."""

    values: list[Floats]
    """[P][G]"""
    kl_slope: float = 0.0
    """By how much a token's advantage falls per nat of KL that follows it; `values` are then means over tokens."""


@dataclass(frozen=True)
class Estimator:
    """How rewards become advantages."""

    compute: Callable[[Graded, AlgorithmConfig], list[Floats]]
    """(batch, settings) -> advantages [P][G]"""
    needs_greedy: bool = False
    """Whether each prompt's greedy response is decoded and graded besides its samples."""
    needs_terms: bool = False
    """Whether it reads each reward by itself."""
    with_kl: Callable[[Graded, AlgorithmConfig], Advantages] | None = None
    """What computes the advantages instead where a KL belongs to the reward; None sums it over the response."""


ESTIMATORS: dict[str, Estimator] = {
    "group": Estimator(lambda b, config: group_advantages(b.rewards, scale=_scale(config))),
    "rloo": Estimator(lambda b, config: rloo_advantages(b.rewards)),
    "reinforce_pp": Estimator(
        lambda b, config: reinforce_pp_advantages(b.rewards, _counts(b, config)),
        with_kl=lambda b, config: _reinforce_pp_with_kl(b, config),
    ),
    "reinforce_pp_baseline": Estimator(
        lambda b, config: reinforce_pp_baseline_advantages(b.rewards, _counts(b, config))
    ),
    "opo": Estimator(lambda b, config: opo_advantages(b.rewards, b.num_tokens)),
    "pass_at_k": Estimator(lambda b, config: _pass_at_k(b, config)),
    "gdpo": Estimator(
        lambda b, config: gdpo_advantages(b.terms, _counts(b, config)), needs_terms=True
    ),
    "none": Estimator(lambda b, config: [np.zeros(len(g), dtype=np.float32) for g in b.rewards]),
    "remax": Estimator(
        lambda b, config: remax_advantages(b.rewards, b.greedy_rewards), needs_greedy=True
    ),
}


GREEDY = "greedy_rewards"
EXTRAS = (GREEDY, "num_tokens")
"""An estimator of your own that has parameters of these names is given what `Graded` has under them."""


def estimator_of(config: AlgorithmConfig) -> Estimator:
    """The algorithm's own estimator, or the one that `advantage` names.

    Raises:
        ConfigError: the latter cannot be imported or called.
    """
    own = config.advantage
    if own is None:
        return ESTIMATORS[config.estimator]
    found = make_part(own, ADVANTAGE, "algorithm.advantage", {})
    wanted = [name for name in EXTRAS if name in inspect.signature(found).parameters]

    def compute(batch: Graded, config: AlgorithmConfig) -> list[Floats]:
        extra = {name: getattr(batch, name) for name in wanted}
        return _checked(found(batch.rewards, config, **extra), batch.rewards, kind_of(own))

    return Estimator(compute, GREEDY in wanted)


def _counts(batch: Graded, config: AlgorithmConfig) -> Sequence[Sequence[int]]:
    """How often each reward occurs in the loss: statistics have the unit of the average that they serve."""
    trained = batch.num_trained or batch.num_tokens
    if config.aggregation == "sequence":
        return [[int(n > 0) for n in group] for group in trained]
    return trained


def _reinforce_pp_with_kl(batch: Graded, config: AlgorithmConfig) -> Advantages:
    means, variances = (
        [[getattr(kl, name) for kl in group] for group in batch.kl]
        for name in ("to_go_mean", "to_go_variance")
    )
    counts = _counts(batch, config)
    found = reinforce_pp_kl_advantages(batch.rewards, counts, means, variances, config.kl.coef)
    return Advantages(*found)


def _pass_at_k(batch: Graded, config: AlgorithmConfig) -> list[Floats]:
    assert isinstance(config, PassAtK)
    return pass_at_k_advantages(batch.rewards, config.k, config.threshold)


def _scale(config: AlgorithmConfig) -> Literal["none", "std"]:
    return config.advantage_scale if isinstance(config, GroupScaled) else "none"


def _checked(found: Sequence[Any], rewards: Rewards, name: str) -> list[Floats]:
    advantages = [np.asarray(group, dtype=np.float32) for group in found]
    if [a.shape for a in advantages] != [(len(group),) for group in rewards]:
        raise DataError(
            f"algorithm.advantage={name} returned shapes {[a.shape for a in advantages]}: "
            "it must return one advantage per reward, in the same groups"
        )
    if not all(np.isfinite(a).all() for a in advantages):
        raise NumericsError(f"algorithm.advantage={name} returned a value that is not finite")
    return advantages


def shaped_rewards(
    batch: Sequence[GroupHandle],
    config: AlgorithmConfig,
    max_new_tokens: int,
    *,
    kl_in_reward: bool = False,
) -> list[list[float]]:
    """Rewards [P][G] less the KL of the whole response, if asked, and the overlong penalty."""
    shaped: list[list[float]] = []
    for scored in batch:
        rewards = np.array(scored.score.rewards, dtype=np.float64)
        if kl_in_reward:
            rewards -= config.kl.coef * np.array([kl.total for kl in scored.reference_kl])
        if config.overlong is not None:
            rewards += overlong_penalty(scored, config, max_new_tokens)
        shaped.append(rewards.tolist())
    return shaped


def _terms(
    batch: Sequence[GroupHandle], shaped: Rewards, weights: Mapping[str, float]
) -> list[tuple[float, Rewards]]:
    if not weights:
        return [(1.0, shaped)]
    terms: list[tuple[float, Rewards]] = [
        (weight, [group.score.parts[f"{name}/score"] for group in batch])
        for name, weight in weights.items()
        if weight
    ]
    penalties = [
        (np.asarray(own) - np.asarray(group.score.rewards)).tolist()
        for own, group in zip(shaped, batch, strict=True)
    ]
    return [*terms, (1.0, penalties)] if any(p for group in penalties for p in group) else terms


def overlong_penalty(scored: GroupHandle, config: AlgorithmConfig, max_new_tokens: int) -> Floats:
    """Return what the responses [G] of a group lose for the tokens that the policy sampled: zero or less."""
    lengths = scored.meta.sampled_lengths
    if config.overlong is None:
        return np.zeros(len(lengths), dtype=np.float32)
    buffer = max(1, round(config.overlong.share * max_new_tokens))
    penalty = soft_overlong_penalty(lengths, max_new_tokens, buffer)
    return np.float32(config.overlong.factor) * penalty


def advantages_of(
    batch: Sequence[GroupHandle],
    config: AlgorithmConfig,
    max_new_tokens: int,
    greedy_rewards: Sequence[float] = (),
    weights: Mapping[str, float] = MappingProxyType({}),
) -> Advantages:
    """Advantages of a batch.

    Args:
        batch: graded groups.
        config: shaping and estimator.
        max_new_tokens: limit of length that the overlong penalty refers to.
        greedy_rewards: [P], for estimators that need them.
        weights: of the rewards, by name, for estimators that read each by itself; without, the sum is one reward.
    """
    estimator = estimator_of(config)
    in_reward = config.kl.coef > 0 and config.kl.place == "reward"
    by_token = in_reward and estimator.with_kl is not None
    rewards = shaped_rewards(batch, config, max_new_tokens, kl_in_reward=in_reward and not by_token)
    lengths = [group.meta.sampled_lengths for group in batch]
    trained = [_trained_lengths(group, config) for group in batch]
    terms = _terms(batch, rewards, weights) if estimator.needs_terms else ()
    kl = [group.reference_kl for group in batch] if by_token else ()
    graded = Graded(rewards, lengths, greedy_rewards, terms, trained, kl)
    if by_token and estimator.with_kl is not None:
        found = estimator.with_kl(graded, config)
    else:
        found = Advantages(estimator.compute(graded, config))
    return Advantages([np.zeros_like(a) for a in found.values]) if config.zero_advantages else found


def _trained_lengths(group: GroupHandle, config: AlgorithmConfig) -> list[int]:
    kept = set(trained_responses(group.meta, config))
    return [n if g in kept else 0 for g, n in enumerate(group.meta.sampled_lengths)]
