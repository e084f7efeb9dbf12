"""Which rewards score a response, and their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from medray.config.base import Section

MODEL = "model"
"""Kind of the rewards that run a model, and so have actors of their own."""


class RewardConfig(Section):
    """One term of the reward, which is the sum of weight * score."""

    kind: str = "choice"
    """A registered reward, your own class or function as `package.module:name`, or a function written for TRL or verl
    as `trl:module:function` or `verl:module:function`."""
    weight: float = 1.0
    """Weight of this term."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the reward, checked before anything starts."""


def reward_names(rewards: Sequence[RewardConfig]) -> tuple[str, ...]:
    """What each reward is called in metrics: its kind, numbered from the second of a kind on."""
    seen: Counter[str] = Counter()
    names: list[str] = []
    for reward in rewards:
        name = reward.kind.rpartition(":")[2]
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return tuple(names)


def by_role(rewards: Sequence[RewardConfig]) -> dict[str, tuple[RewardConfig, ...]]:
    """Who computes which rewards: `reward` those that run a model, `grader` the others."""
    models = tuple(r for r in rewards if r.kind == MODEL)
    return {"reward": models, "grader": tuple(r for r in rewards if r.kind != MODEL)}


class GradingConfig(Section):
    """What happens when a grader fails. A failure is never a reward."""

    retries: int = Field(default=2, ge=0)
    """Number of retries for the whole group. A group at which three graders died is not retried."""
    on_failure: Literal["stop", "drop"] = "stop"
    """stop the run, or drop the group from the batch and count it."""
