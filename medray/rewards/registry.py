"""Rewards by name, built from configuration and checked before anything starts."""

from __future__ import annotations

import inspect
import math
from typing import Any

from medray.config.loader import validated
from medray.config.names import resolve_name
from medray.config.parts import REWARD
from medray.config.reward import RewardConfig
from medray.errors import ConfigError
from medray.plugins import bind_options, make_named
from medray.rewards.base import Reward
from medray.rewards.function import FunctionReward

REWARDS: dict[str, str] = {
    "calculation": "medray.rewards.calculation:CalculationReward",
    "choice": "medray.rewards.choice:ChoiceReward",
    "factuality": "medray.rewards.factuality:FactualityReward",
    "format": "medray.rewards.format:FormatReward",
    "language": "medray.rewards.language:LanguageReward",
    "length": "medray.rewards.length:LengthReward",
    "math": "medray.rewards.math:MathReward",
    "model": "medray.rewards.model:ModelReward",
    "numeric": "medray.rewards.numeric:NumericReward",
    "repetition": "medray.rewards.repetition:RepetitionReward",
    "rubric": "medray.rewards.rubric:RubricReward",
    "safety": "medray.rewards.safety:SafetyReward",
    "text": "medray.rewards.text:TextReward",
    "verifier": "medray.rewards.verifier:VerifierReward",
}

FORMS: dict[str, str] = {
    "trl": "medray.rewards.trl:TrlReward",
    "verl": "medray.rewards.verl:VerlReward",
}
"""Functions written for another trainer, as `form:module:function`."""


def build_reward(config: RewardConfig, key: str = "rewards.0") -> Reward:
    """Make the reward that `config.kind` names, with `config.options`.

    Args:
        config: kind (registered, your own class or function as `package.module:name`, or a function in another
            trainer's form as `trl:module:function`) and settings.
        key: where in the configuration it stands, for error texts.

    Raises:
        ConfigError: unknown kind, unknown or bad option, a function that cannot be called as a reward, or bounds that
            are missing or not finite.
    """
    name = f"{key}.kind={config.kind}"
    reward: Any
    if config.kind.count(":") == 2:
        reward = _brought(config, key)
        _check_contract(reward, name)
        return reward
    found = resolve_name(config.kind, REWARDS, key=f"{key}.kind")
    if inspect.isroutine(found):
        call = bind_options(found, REWARD, config.options, key, config.kind)
        reward = FunctionReward(found, call)
    else:
        reward = make_named(config.kind, config.options, REWARDS, key=key)
    _check_contract(reward, name)
    return reward


def _brought(config: RewardConfig, key: str) -> Any:
    form, _, path = config.kind.partition(":")
    if form not in FORMS:
        raise ConfigError(
            f"{key}.kind={config.kind}: {form} is not a form, use one of {', '.join(FORMS)}"
        )
    make: Any = resolve_name(form, FORMS, key=f"{key}.kind")
    options = validated(make.Options, config.options, within=f"{key}.options")
    return make(path, options, f"{key}.kind")


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
    if "score" in reward.parts:
        raise ConfigError(
            f"{name}: a part named score would replace the reward's own metric: rename the part"
        )
