"""From prompts to scored groups: grading and reference passes start as each group completes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from medray.actors.graders import GraderPool
from medray.actors.reward_pools import RewardPools
from medray.actors.rollouts import RolloutPool
from medray.actors.wait import Ref, gather
from medray.config.cluster import DeadlineConfig
from medray.errors import GraderError
from medray.types import GenerateSpec, GroupMeta, GroupScore, Prompt


@dataclass(frozen=True)
class ScoredGroup:
    """What the driver knows of a group: no tokens."""

    meta: GroupMeta
    score: GroupScore
    group: Ref
    reference: Ref | None = None  # the reference model's log-probabilities
    reference_kl: tuple[float, ...] = ()  # [G] nats
    values: Ref | None = None  # the critic's, per response


class ReferenceScorer(Protocol):
    """Whoever scores groups under the reference model: its own actors, or the learner's ranks."""

    def reference_logprobs(self, index: int, group: Ref) -> tuple[Ref, Ref]:
        """Start scoring; returns refs to (KL sums, log-probabilities)."""
        ...


class ValueScorer(Protocol):
    """Whoever says what the states of a group are worth."""

    def values(self, index: int, group: Ref) -> Ref:
        """Start valuing; returns a ref to the values."""
        ...


class Collector:
    """Samples prompts; each group is graded, scored by the reference and valued as soon as it is complete."""

    def __init__(
        self,
        rollouts: RolloutPool,
        graders: GraderPool | RewardPools,
        reference: ReferenceScorer | None,
        deadlines: DeadlineConfig,
        critic: ValueScorer | None = None,
    ) -> None:
        self.rollouts = rollouts
        self.graders = graders
        self.reference = reference
        self.deadlines = deadlines
        self.critic = critic

    def collect(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        spec: GenerateSpec,
        *,
        reference: bool = True,
        may_be_empty: bool = False,
    ) -> list[ScoredGroup]:
        """Scored groups in the order of `prompts`; groups that no grader could judge may be left out.

        Args:
            prompts: what to answer.
            seeds: one a prompt.
            spec: how to sample.
            reference: False skips the reference model and the critic (evaluation).
            may_be_empty: whether the caller can do without any group, as when it refills a batch.
        """
        kls: dict[str, Ref] = {}
        values: dict[int, Ref] = {}
        found: dict[int, tuple[GroupMeta, Ref, Ref | None]] = {}
        for sampled in self.rollouts.generate(prompts, seeds, spec):
            self.graders.submit(sampled.index, sampled.meta.prompt_id, sampled.group)
            logprobs = None
            if reference and self.reference is not None:
                kl, logprobs = self.reference.reference_logprobs(sampled.index, sampled.group)
                kls[f"reference of prompt {sampled.meta.prompt_id} [{sampled.index}]"] = kl
            if reference and self.critic is not None:
                values[sampled.index] = self.critic.values(sampled.index, sampled.group)
            found[sampled.index] = (sampled.meta, sampled.group, logprobs)
        assert len(found) == len(prompts), f"{len(found)} of {len(prompts)} groups came back"
        scores = self.graders.results()
        if prompts and not may_be_empty and not any(scores.values()):
            raise GraderError("no group of the batch could be judged: see incidents.jsonl")
        sums = gather(kls, deadline_s=self.deadlines.update_s, doing="reference") if kls else {}
        kl_of = dict(zip(found, sums.values(), strict=True)) if sums else {}
        return [
            ScoredGroup(meta, score, group, logprobs, kl_of.get(i, ()), values.get(i))
            for i, (meta, group, logprobs) in sorted(found.items())
            if (score := scores[i]) is not None
        ]
