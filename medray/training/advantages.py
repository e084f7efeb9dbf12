"""From graded groups to advantages: reward shaping, then the estimator that the configuration names.

All of it is arithmetic on one float a response, so it happens in the driver, over the whole batch at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from medray.actors.groups import GroupHandle
from medray.config.algorithms.base import AlgorithmConfig, GroupScaled
from medray.config.parts import ADVANTAGE, kind_of
from medray.errors import DataError, NumericsError
from medray.losses.advantages import (
    group_advantages,
    reinforce_pp_advantages,
    reinforce_pp_baseline_advantages,
    remax_advantages,
    rloo_advantages,
    soft_overlong_penalty,
)
from medray.plugins import make_part
from medray.types import Floats

Rewards = Sequence[Sequence[float]]  # [P][G]


@dataclass(frozen=True)
class Estimator:
    """How rewards become advantages."""

    compute: Callable[[Rewards, Sequence[float], AlgorithmConfig], list[Floats]]
    """(rewards [P][G], rewards of the greedy responses [P] or nothing, settings) -> advantages [P][G]"""
    needs_greedy: bool = False
    """Whether each prompt's greedy response is decoded and graded besides its samples."""


ESTIMATORS: dict[str, Estimator] = {
    "group": Estimator(lambda r, _, config: group_advantages(r, scale=_scale(config))),
    "rloo": Estimator(lambda r, _, config: rloo_advantages(r)),
    "reinforce_pp": Estimator(lambda r, _, config: reinforce_pp_advantages(r)),
    "reinforce_pp_baseline": Estimator(lambda r, _, config: reinforce_pp_baseline_advantages(r)),
    "none": Estimator(lambda r, _, config: [np.zeros(len(g), dtype=np.float32) for g in r]),
    "remax": Estimator(lambda r, greedy, config: remax_advantages(r, greedy), needs_greedy=True),
}


GREEDY = "greedy_rewards"
"""An estimator of your own that has a parameter of this name is given the rewards of the greedy responses."""


def estimator_of(config: AlgorithmConfig) -> Estimator:
    """The algorithm's own estimator, or the one that `advantage` names.

    Raises:
        ConfigError: the latter cannot be imported or called.
    """
    own = config.advantage
    if own is None:
        return ESTIMATORS[config.estimator]
    found = make_part(own, ADVANTAGE, "algorithm.advantage", {})
    needs_greedy = GREEDY in inspect.signature(found).parameters

    def compute(rewards: Rewards, greedy: Sequence[float], config: AlgorithmConfig) -> list[Floats]:
        extra = {GREEDY: greedy} if needs_greedy else {}
        return _checked(found(rewards, config, **extra), rewards, kind_of(own))

    return Estimator(compute, needs_greedy)


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
    batch: Sequence[GroupHandle], config: AlgorithmConfig, max_new_tokens: int
) -> list[list[float]]:
    """Rewards [P][G] less the KL penalty, where that belongs to the reward, and the overlong penalty."""
    in_reward = config.kl.coef > 0 and config.kl.place == "reward"
    shaped: list[list[float]] = []
    for scored in batch:
        rewards = np.array(scored.score.rewards, dtype=np.float64)
        if in_reward:
            rewards -= config.kl.coef * np.array(scored.reference_kl)
        if config.overlong is not None:
            rewards += overlong_penalty(scored, config, max_new_tokens)
        shaped.append(rewards.tolist())
    return shaped


def overlong_penalty(scored: GroupHandle, config: AlgorithmConfig, max_new_tokens: int) -> Floats:
    """What the responses [G] of a group lose for their length: zero or less."""
    lengths = scored.meta.num_response_tokens
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
) -> list[Floats]:
    """Advantages [P][G] of a batch.

    Args:
        batch: graded groups.
        config: shaping and estimator.
        max_new_tokens: limit of length that the overlong penalty refers to.
        greedy_rewards: [P], for estimators that need them.
    """
    rewards = shaped_rewards(batch, config, max_new_tokens)
    advantages = estimator_of(config).compute(rewards, greedy_rewards, config)
    return [np.zeros_like(a) for a in advantages] if config.zero_advantages else advantages
