"""Several rewards as one, with every way a grader can fail made loud."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from medray.config.reward import RewardConfig, reward_names
from medray.errors import ConfigError, GraderError
from medray.rewards.base import Reward
from medray.rewards.composition import Term, compose, passed_parts
from medray.rewards.registry import build_reward
from medray.types import GroupScore, RolloutGroup

_TOLERANCE = 1e-6  # float rounding at the bounds


@dataclass(frozen=True, slots=True)
class WeightedReward:
    """A reward and what it counts for in a mixture."""

    term: Term
    reward: Reward

    @property
    def name(self) -> str:
        """What its parts begin with."""
        return self.term.name

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest that it adds."""
        ends = [self.term.config.weight * bound for bound in (self.reward.low, self.reward.high)]
        return min(ends), max(ends)


class RewardMixture:
    """Sum of weight * score over several rewards, under gates and vetoes."""

    def __init__(self, rewards: Sequence[WeightedReward]) -> None:
        self.rewards = tuple(rewards)
        self.terms = tuple(one.term for one in self.rewards)

    @property
    def low(self) -> float:
        """The least reward a response can get."""
        low = sum(one.ends[0] for one in self.rewards)
        if any(term.config.gate is not None for term in self.terms):
            low = sum(min(one.ends[0], 0.0) for one in self.rewards)
        return min([low, *(t.config.veto.reward for t in self.terms if t.config.veto is not None)])

    @property
    def high(self) -> float:
        """The greatest reward a response can get."""
        return sum(one.ends[1] for one in self.rewards)

    def load(self) -> None:
        """Load the models that rewards hold, so that the first group does not wait for them."""
        for one in self.rewards:
            if callable(load := getattr(one.reward, "load", None)):
                load()

    def score(self, group: RolloutGroup) -> GroupScore:
        """Grade one group.

        Returns:
            G rewards, and as parts `kind/score` (before its weight) and `kind/part` of every
            reward, and `kind/passed` of those with a gate or veto.

        Raises:
            GraderError: a reward raised, or returned the wrong count, a value that is not finite
                or a value outside its bounds; the text names the reward and the prompt. Never
                turned into a reward.
        """
        parts: dict[str, tuple[float, ...]] = {}
        for one in self.rewards:
            scored = _score_one(one, group)
            parts[f"{one.name}/score"] = scored.rewards
            for part, values in scored.parts.items():
                parts[f"{one.name}/{part}"] = values
        num_responses = len(group.responses)
        parts |= passed_parts(self.terms, parts, num_responses)
        return GroupScore(compose(self.terms, parts, num_responses), parts)

    def score_or_error(self, group: RolloutGroup) -> GroupScore | GraderError:
        """Grade one group; returns the error where that fails."""
        try:
            return self.score(group)
        except GraderError as error:
            return error


def build_rewards(configs: Sequence[RewardConfig]) -> RewardMixture:
    """Make every reward of a job.

    Raises:
        ConfigError: there is none, or one cannot be made; the text names the key.
    """
    if not configs:
        raise ConfigError("rewards is empty: add at least one, e.g. rewards: [{kind: choice}]")
    found: list[WeightedReward] = []
    for i, (name, config) in enumerate(zip(reward_names(configs), configs, strict=True)):
        reward = build_reward(config, f"rewards.{i}")
        _require_parts(config, reward, f"rewards.{i}")
        found.append(WeightedReward(Term(name, config), reward))
    return RewardMixture(found)


def _require_parts(config: RewardConfig, reward: Reward, key: str) -> None:
    for rule, bounds in (("gate", config.gate), ("veto", config.veto)):
        known = ("score", *reward.parts)
        if bounds is not None and bounds.part not in known:
            raise ConfigError(
                f"{key}.{rule}.part={bounds.part} is not a part of {config.kind}: use one of {', '.join(known)}"
            )


def _score_one(one: WeightedReward, group: RolloutGroup) -> GroupScore:
    where = f"reward {one.name} on prompt {group.prompt.record.id}"
    try:
        scored = one.reward.score(group.prompt, group.responses)
    except (Exception, SystemExit) as error:  # a failure to grade, whatever it is, and no reward
        raise GraderError(f"{where} raised {type(error).__name__}: {error}") from error
    if not isinstance(scored, GroupScore):
        raise GraderError(f"{where} returned {type(scored).__name__}: return a medray GroupScore")
    num_responses = len(group.responses)
    low, high = one.reward.low - _TOLERANCE, one.reward.high + _TOLERANCE
    rewards = _floats(scored.rewards, num_responses, where)
    for i, reward in enumerate(rewards):
        if not low <= reward <= high:
            bounds = f"[{one.reward.low}, {one.reward.high}]"
            raise GraderError(
                f"{where} returned {reward} for response {i}, outside its bounds {bounds}"
            )
    if set(scored.parts) != set(one.reward.parts):
        raise GraderError(
            f"{where} reported parts {sorted(scored.parts)},"
            f" but declares {sorted(one.reward.parts)}"
        )
    parts = {
        name: _floats(values, num_responses, f"part {name} of {where}")
        for name, values in scored.parts.items()
    }
    return GroupScore(rewards, parts)


def _floats(values: Sequence[float], count: int, where: str) -> tuple[float, ...]:
    if isinstance(
        values, Mapping | Set
    ):  # iterating over one gives its keys, in no order that means anything
        raise GraderError(f"{where} is a {type(values).__name__}: return one number per response")
    try:
        is_finite = [math.isfinite(v) for v in values]  # refuses text, which float() would take
        floats = tuple(float(v) for v in values)
    except (TypeError, ValueError) as error:
        raise GraderError(f"{where} is not a list of numbers: {error}") from error
    if len(floats) != count:
        raise GraderError(f"{where} has {len(floats)} values for {count} responses")
    if not all(is_finite):
        worst = is_finite.index(False)
        raise GraderError(
            f"{where} returned {floats[worst]} for response {worst}: rewards must be finite"
        )
    return floats
