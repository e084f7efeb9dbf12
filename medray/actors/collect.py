"""From prompts to scored groups: grading and reference passes start as each group completes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from medray.actors.rollouts import RolloutPool
from medray.actors.wait import Ref, gather
from medray.config.cluster import DeadlineConfig
from medray.types import Floats, GenerateSpec, GroupMeta, GroupScore, Prompt


@dataclass(frozen=True)
class ScoredGroup:
    """What the driver knows of a group: no tokens."""

    meta: GroupMeta
    score: GroupScore
    group: Ref
    reference: Ref | None = None  # the reference model's log-probabilities
    reference_kl: tuple[float, ...] = ()  # [G] nats


class ReferenceScorer(Protocol):
    """Whoever scores groups under the reference model: its own actors, or the learner's ranks."""

    def reference_logprobs(self, index: int, group: Ref) -> tuple[Ref, Ref]:
        """Start scoring; returns refs to (KL sums, log-probabilities)."""
        ...


class GraderPool:
    """The grader processes."""

    def __init__(self, graders: Sequence[Any], deadlines: DeadlineConfig) -> None:
        self.graders = list(graders)
        self.deadlines = deadlines
        self._records: dict[str, Ref] = {}

    def score(self, index: int, group: Ref) -> Ref:
        """Start grading a group."""
        return self.graders[index % len(self.graders)].score.remote(group)

    def record(self, step: int, batch: Sequence[ScoredGroup], advantages: Sequence[Floats]) -> None:
        """Write the step's rollouts to the run folder while training goes on."""
        self.finish_records()
        ref = self.graders[step % len(self.graders)].record.remote(
            step, [s.group for s in batch], [s.score for s in batch], list(advantages)
        )
        self._records[f"rollouts of step {step}"] = ref

    def finish_records(self) -> None:
        """Wait for the last record to be on disk."""
        records, self._records = self._records, {}
        if records:
            gather(records, deadline_s=self.deadlines.save_s, doing="write rollouts")


class Collector:
    """Samples prompts and has each group graded, and scored by the reference, as soon as it is complete."""

    def __init__(
        self,
        rollouts: RolloutPool,
        graders: GraderPool,
        reference: ReferenceScorer | None,
        deadlines: DeadlineConfig,
    ) -> None:
        self.rollouts = rollouts
        self.graders = graders
        self.reference = reference
        self.deadlines = deadlines

    def collect(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        spec: GenerateSpec,
        *,
        reference: bool = True,
    ) -> list[ScoredGroup]:
        """Scored groups in the order of `prompts`.

        Args:
            prompts: what to answer.
            seeds: one a prompt.
            spec: how to sample.
            reference: False skips the reference model (evaluation).
        """
        grades: dict[str, Ref] = {}
        kls: dict[str, Ref] = {}
        found: dict[int, tuple[GroupMeta, Ref, Ref | None]] = {}
        for sampled in self.rollouts.generate(prompts, seeds, spec):
            grades[f"grader of prompt {sampled.meta.prompt_id} [{sampled.index}]"] = (
                self.graders.score(sampled.index, sampled.group)
            )
            logprobs = None
            if reference and self.reference is not None:
                kl, logprobs = self.reference.reference_logprobs(sampled.index, sampled.group)
                kls[f"reference of prompt {sampled.meta.prompt_id} [{sampled.index}]"] = kl
            found[sampled.index] = (sampled.meta, sampled.group, logprobs)
        scores = dict(
            zip(
                found,
                gather(grades, deadline_s=self.deadlines.grade_s, doing="grade").values(),
                strict=True,
            )
        )
        sums = (
            list(gather(kls, deadline_s=self.deadlines.update_s, doing="reference").values())
            if kls
            else []
        )
        kl_of = dict(zip(found, sums, strict=True)) if sums else {}
        return [
            ScoredGroup(meta, scores[i], group, logprobs, kl_of.get(i, ()))
            for i, (meta, group, logprobs) in sorted(found.items())
        ]
