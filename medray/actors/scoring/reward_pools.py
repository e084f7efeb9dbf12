"""Graders of two kinds as one: plug-ins on one set of processes, reward models on another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from medray.actors.groups import GroupHandle
from medray.actors.ray_calls.wait import Ref
from medray.actors.scoring.on_ranks import RankRewards
from medray.actors.scoring.reward_pool import RewardPool
from medray.config.reward import RewardConfig, by_role
from medray.errors import WorkerLost
from medray.rewards.composition import Term, compose, terms_of
from medray.types import GroupScore


class RewardPools:
    """Every group goes to both pools at once; its reward is composed of the terms of both."""

    def __init__(
        self,
        graders: RewardPool,
        models: RewardPool | RankRewards,
        rewards: Sequence[RewardConfig] = (),
    ) -> None:
        self.graders = graders
        self.pools = (graders, models)
        self._parts: dict[int, list[GroupScore | None]] = {}  # scores of the groups under way
        roles = by_role(rewards).values()
        self._terms = [term for configs in roles for term in terms_of(configs)]

    @property
    def handles(self) -> dict[str, Any]:
        """Handles of the pools' own processes."""
        return {name: actor for pool in self.pools for name, actor in pool.handles.items()}

    def start(self) -> dict[str, Ref]:
        """Have every process build its rewards; refs to what each says of itself, by name."""
        return {name: ref for pool in self.pools for name, ref in pool.start().items()}

    def revive(self, name: str, loss: WorkerLost) -> Ref | None:
        """Replace a process that died while the job starts: the ref of its new start, None where none has the name."""
        for pool in self.pools:
            if (started := pool.revive(name, loss)) is not None:
                return started
        return None

    def submit(self, groups: Sequence[GroupHandle]) -> None:
        """Start grading groups in every pool."""
        self._parts |= {group.ticket: [] for group in groups}
        for pool in self.pools:
            pool.submit(groups)

    def refs(self) -> list[Ref]:
        """What to wait for: one of these is ready when `take` has something to do."""
        return [ref for pool in self.pools for ref in pool.refs()]

    def take(self, ready: Iterable[Ref]) -> dict[int, GroupScore | None]:
        """Groups that every pool has scored, by ticket, None for one that a pool has dropped.

        Args:
            ready: which of `refs` are; others are passed over.

        Raises:
            GraderError, DeadlineExceeded: as `RewardPool.take`.
        """
        known = list(ready)
        found: dict[int, GroupScore | None] = {}
        for pool in self.pools:
            for index, score in pool.take(known).items():
                self._parts[index].append(score)
                if len(self._parts[index]) == len(self.pools):
                    found[index] = _together(self._parts.pop(index), self._terms)
        return found


def _together(scores: Sequence[GroupScore | None], terms: Sequence[Term]) -> GroupScore | None:
    """One score of all pools: their sum, unless a gate or veto of one pool's reward acts on the other's."""
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        return None
    parts = {name: part for s in known for name, part in s.parts.items()}
    if any(term.rules for term in terms):
        rewards = compose(terms, parts, len(known[0].rewards))
    else:
        rewards = tuple(sum(r) for r in zip(*(s.rewards for s in known), strict=True))
    return GroupScore(rewards, dict(sorted(parts.items())))
