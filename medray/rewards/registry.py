"""Rewards by name, built from configuration and checked before anything starts."""

from __future__ import annotations

import math
from typing import Any

from medray.config.reward import RewardConfig
from medray.errors import ConfigError
from medray.plugins import make_named
from medray.rewards.base import Reward

REWARDS: dict[str, str] = {
    "choice": "medray.rewards.choice:ChoiceReward",
    "model": "medray.rewards.model:ModelReward",
    "text": "medray.rewards.text:TextReward",
}


def build_reward(config: RewardConfig, key: str = "rewards.0") -> Reward:
    """Make the reward that `config.kind` names, with `config.options`.

    Args:
        config: kind (registered, or `package.module:ClassName`) and settings.
        key: where in the configuration it stands, for error texts.

    Raises:
        ConfigError: unknown kind, unknown or bad option, or bounds that are missing or not finite.
    """
    reward = make_named(config.kind, config.options, REWARDS, key=key)
    _check_contract(reward, f"{key}.kind={config.kind}")
    return reward


def _check_contract(reward: Any, name: str) -> None:
    missing = [a for a in ("low", "high", "parts", "score") if not hasattr(reward, a)]
    if missing:
        raise ConfigError(f"{name} lacks {', '.join(missing)}: see medray.rewards.base.Reward")
    for bound in ("low", "high"):
        value = getattr(reward, bound)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"{name}: its bound {bound} is {value!r}; declare a finite number")
    if reward.low > reward.high:
        raise ConfigError(f"{name}: low {reward.low} is above high {reward.high}")
    if isinstance(reward.parts, str) or not all(isinstance(p, str) for p in reward.parts):
        raise ConfigError(f"{name}: parts must be a tuple of names")
