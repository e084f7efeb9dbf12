"""Which rewards score a response, and their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from medray.config.base import Section

MODEL = "model"
"""Kind of the rewards that run a model, and so have actors of their own."""


class BoundsConfig(Section):
    """Bounds of a part; a response is within them or not."""

    part: str = "score"
    """A part that this reward reports, or its score before the weight."""
    min: float | None = Field(default=None, allow_inf_nan=False)
    """Least value within the bounds; null: none."""
    max: float | None = Field(default=None, allow_inf_nan=False)
    """Greatest value within the bounds; null: none."""

    @model_validator(mode="after")
    def _something_is_bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("set min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min={self.min} is above max={self.max}")
        return self


class VetoConfig(BoundsConfig):
    """Bounds outside of which a response gets at most a fixed reward."""

    reward: float = Field(default=0.0, allow_inf_nan=False)
    """Greatest total reward of a response outside the bounds."""


class RewardConfig(Section):
    """One term of the reward, which is the sum of weight * score under gates and vetoes."""

    kind: str = "choice"
    """A registered reward, your own class or function as `package.module:name`, or a function written for TRL or verl
    as `trl:module:function` or `verl:module:function`."""
    weight: float = 1.0
    """Weight of this term."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the reward, checked before anything starts."""
    gate: BoundsConfig | None = None
    """Outside these bounds, the other terms add nothing; what they subtract stays."""
    veto: VetoConfig | None = None
    """Outside these bounds, the total reward is at most `veto.reward`."""


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
