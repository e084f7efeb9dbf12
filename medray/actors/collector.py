"""From prompts to scored groups: grading, reference, critic and teacher passes start as each group completes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from medray.actors.groups import ScoredGroup, ToGrade
from medray.actors.ray_calls.pending import Pending
from medray.actors.ray_calls.wait import Ref, ready_of
from medray.actors.rollout.pool import RolloutPool
from medray.actors.rollout.worker import Sampled
from medray.actors.scoring.reward_pool import RewardPool
from medray.actors.scoring.reward_pools import RewardPools
from medray.config.cluster import DeadlineConfig
from medray.errors import GraderError
from medray.types import GenerateSpec, GroupScore, Prompt

Inbox = deque[tuple[int, ScoredGroup | None]]
"""Where complete groups arrive: (ticket, group), None for one that no grader could judge."""

POLL_S = 0.5  # the longest a waiting thread goes without looking at deadlines
NOTHING_JUDGED = "no group of the batch could be judged: see incidents.jsonl"


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


class TeacherScorer(Protocol):
    """Whoever says what a teacher would have said."""

    def teach(self, index: int, group: Ref) -> tuple[Ref, Ref]:
        """Start scoring; returns refs to (number of tokens scored, `TopTokens` per response)."""
        ...


@dataclass
class _Open:
    """A group on its way: sampled, judged, scored by the reference."""

    inbox: Inbox
    is_trained_on: bool
    sampled: Sampled | None = None
    is_judged: bool = False
    score: GroupScore | None = None
    logprobs: Ref | None = None
    kl: tuple[float, ...] | None = None
    values: Ref | None = None
    taught: Ref | None = None
    is_taught: bool = False

    def result(self) -> ScoredGroup | None:
        """The scored group, once it is complete; None where it was given up."""
        assert self.sampled is not None
        if self.score is None:
            return None
        return ScoredGroup(
            self.sampled.meta,
            self.score,
            self.sampled.group,
            self.logprobs,
            self.kl or (),
            self.values,
            self.taught,
        )

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        is_referred = self.kl is not None or self.logprobs is None
        return self.is_judged and is_referred and (self.is_taught or self.taught is None)


class Collector:
    """Samples prompts; each group is graded, scored by the reference and valued as soon as it is whole.

    Several threads may use it: whoever waits for something moves everything on with `poll`.
    """

    def __init__(
        self,
        rollouts: RolloutPool,
        graders: RewardPool | RewardPools,
        reference: ReferenceScorer | None,
        deadlines: DeadlineConfig,
        critic: ValueScorer | None = None,
        teacher: TeacherScorer | None = None,
    ) -> None:
        self.rollouts = rollouts
        self.graders = graders
        self.reference = reference
        self.critic = critic
        self.teacher = teacher
        self._open: dict[int, _Open] = {}
        self._kls = Pending("reference", deadlines.update_s)
        self._lessons = Pending("teacher", deadlines.update_s)
        self._lock = threading.RLock()
        self._polling = threading.Lock()

    def submit(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        spec: GenerateSpec,
        inbox: Inbox,
        *,
        reference: bool = True,
    ) -> list[int]:
        """Start on every prompt; returns tickets, under which groups will come to `inbox`, None for one given up.

        Args:
            prompts: what to answer.
            seeds: one a prompt.
            spec: how to sample.
            inbox: where complete groups go.
            reference: False skips the reference model, the critic and the teacher (evaluation).
        """
        with self._lock:
            tickets = self.rollouts.submit(prompts, seeds, spec)
            self._open |= {ticket: _Open(inbox, reference) for ticket in tickets}
            return tickets

    def oldest_version(self, ticket: int) -> int | None:
        """The oldest version that a token of a group may be of; None once it is sampled."""
        return self.rollouts.oldest_version(ticket)

    def poll(self, timeout_s: float) -> None:
        """Wait for anything to happen, at most so long, and pass on what did.

        Raises:
            DeadlineExceeded, WorkerLost, GraderError, WeightSyncError: named by whoever noticed.
        """
        with self._polling:  # one thread at a time takes from the streams
            with self._lock:
                scoring = [*self._kls.refs(), *self._lessons.refs()]
                refs = [*self.rollouts.refs(), *self.graders.refs(), *scoring]
            ready = ready_of(refs, timeout_s)
            with self._lock:
                self._on_sampled(self.rollouts.take(ready))
                for ticket, score in self.graders.take(ready).items():
                    group = self._open[ticket]
                    group.is_judged, group.score = True, score
                    self._close(ticket)
                for ticket, kl in self._kls.take(ready).items():
                    self._open[ticket].kl = kl
                    self._close(ticket)
                for ticket in self._lessons.take(ready):
                    self._open[ticket].is_taught = True
                    self._close(ticket)

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
            reference: False skips the reference model, the critic and the teacher (evaluation).
            may_be_empty: whether the caller can do without any group, as when it refills a batch.
        """
        inbox: Inbox = deque()
        tickets = self.submit(prompts, seeds, spec, inbox, reference=reference)
        while len(inbox) < len(tickets):
            self.poll(POLL_S / 5)
        done = dict(inbox)
        found = [scored for ticket in tickets if (scored := done[ticket]) is not None]
        if prompts and not may_be_empty and not found:
            raise GraderError(NOTHING_JUDGED)
        return found

    def _on_sampled(self, batch: Sequence[Sampled]) -> None:
        for sampled in batch:
            self._open[sampled.ticket].sampled = sampled
        self.graders.submit([ToGrade(s.ticket, s.meta.prompt_id, s.group) for s in batch])
        for sampled in batch:
            self._score(sampled)

    def _score(self, sampled: Sampled) -> None:
        """Have the reference, the critic and the teacher look at a group, where there are any."""
        ticket, prompt_id = sampled.ticket, sampled.meta.prompt_id
        group = self._open[ticket]
        if not group.is_trained_on:
            return
        if self.reference is not None:
            kl, group.logprobs = self.reference.reference_logprobs(ticket, sampled.group)
            self._kls.add(kl, ticket, f"the reference model (prompt {prompt_id})")
        if self.critic is not None:
            group.values = self.critic.values(ticket, sampled.group)
        if self.teacher is not None:
            done, group.taught = self.teacher.teach(ticket, sampled.group)
            self._lessons.add(done, ticket, f"the teacher (prompt {prompt_id})")

    def _close(self, ticket: int) -> None:
        if (group := self._open[ticket]).is_complete:
            del self._open[ticket]
            group.inbox.append((ticket, group.result()))
