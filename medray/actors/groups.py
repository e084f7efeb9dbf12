"""A group of rollouts on its way from request to update, as the driver sees it: references and sizes, no tokens."""

from __future__ import annotations

from dataclasses import dataclass

from medray.actors.ray_calls.wait import Ref
from medray.types import GroupMeta, GroupScore


@dataclass(frozen=True)
class ScoredGroup:
    """What the driver knows of a group: no tokens."""

    meta: GroupMeta
    score: GroupScore
    group: Ref
    reference: Ref | None = None  # the reference model's log-probabilities
    reference_kl: tuple[float, ...] = ()  # [G] nats
    values: Ref | None = None  # the critic's, per response
    taught: Ref | None = None  # a teacher's most likely tokens, per response


@dataclass
class ToGrade:
    """A group that waits for its verdict."""

    index: int
    prompt_id: str
    group: Ref
    tries: int = 1
