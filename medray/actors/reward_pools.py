"""Graders of two kinds as one: plug-ins on one set of processes, reward models on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medray.actors.graders import GraderPool
from medray.actors.shared import RankRewards
from medray.actors.wait import Ref
from medray.types import Floats, GroupScore

if TYPE_CHECKING:
    from medray.actors.collect import ScoredGroup


class RewardPools:
    """Every group goes to both pools at once; its reward is the sum of theirs. The first pool keeps the record."""

    def __init__(self, graders: GraderPool, models: GraderPool | RankRewards) -> None:
        self.graders = graders
        self.pools = (graders, models)

    def start(self) -> dict[str, Ref]:
        """Have every process build its rewards; refs to what each says of itself, by name."""
        return {name: ref for pool in self.pools for name, ref in pool.start().items()}

    def submit(self, index: int, prompt_id: str, group: Ref) -> None:
        """Start grading a group in every pool."""
        for pool in self.pools:
            pool.submit(index, prompt_id, group)

    def results(self) -> dict[int, GroupScore | None]:
        """Wait for everything submitted; scores by index, None for a group that a pool has dropped.

        Raises:
            GraderError, DeadlineExceeded: as `GraderPool.results`.
        """
        found = [pool.results() for pool in self.pools]
        return {index: _sum([scores[index] for scores in found]) for index in found[0]}

    def record(self, step: int, batch: Sequence[ScoredGroup], advantages: Sequence[Floats]) -> None:
        """Write the step's rollouts to the run folder while training goes on."""
        self.graders.record(step, batch, advantages)

    def finish_records(self) -> None:
        """Wait for the last record to be on disk."""
        self.graders.finish_records()


def _sum(scores: Sequence[GroupScore | None]) -> GroupScore | None:
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        return None
    rewards = tuple(sum(r) for r in zip(*(s.rewards for s in known), strict=True))
    return GroupScore(rewards, {name: part for s in known for name, part in s.parts.items()})
