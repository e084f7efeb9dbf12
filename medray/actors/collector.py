"""From prompts to scored groups: grading, reference, critic and teacher passes start as soon as a group is sampled.

Who waits for whom: only `poll` waits, for the first result of any engine or scorer, and one thread at a time. Engines
and scorers never wait for the driver. The critic's values are not waited for at all: they stay references, which the
ranks that train resolve.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from medray.actors.groups import GroupHandle
from medray.actors.ray_calls.pending import Pending
from medray.actors.ray_calls.wait import Ref, ready_of
from medray.actors.rollout.pool import RolloutPool
from medray.actors.scoring.reward_pool import RewardPool
from medray.actors.scoring.reward_pools import RewardPools
from medray.config.cluster import DeadlineConfig
from medray.errors import GraderError
from medray.types import GenerateSpec, Prompt

Inbox = deque[GroupHandle]
"""Where completed groups arrive, including dropped ones."""

POLL_S = 0.5  # longest wait between two checks of the deadlines
NOTHING_SCORED = "no group of the batch could be scored: see incidents.jsonl"


class ReferenceScorer(Protocol):
    """Scores groups under the reference model, on its own actors or on the learner's ranks. Calls return at once."""

    def name_of(self, index: int) -> str:
        """The actor that scores group `index`, for messages."""
        ...

    def reference_logprobs(self, index: int, group: Ref) -> tuple[Ref, Ref]:
        """Start scoring; returns refs to (KL sums, log-probabilities)."""
        ...


class ValueScorer(Protocol):
    """Scores the states of a group with the critic. Calls return at once."""

    def values(self, index: int, group: Ref) -> Ref:
        """Start valuing; returns a ref to the values."""
        ...


class TeacherScorer(Protocol):
    """Scores groups under the teacher model. Calls return at once."""

    def name_of(self, index: int) -> str:
        """The actor that scores group `index`, for messages."""
        ...

    def teach(self, index: int, group: Ref) -> tuple[Ref, Ref]:
        """Start scoring; returns refs to (number of tokens scored, `TopTokens` per response)."""
        ...


Part = Literal["score", "reference", "teacher"]


@dataclass
class _Open:
    """An unfinished group, the inbox it goes to, and the scores it still waits for."""

    group: GroupHandle
    inbox: Inbox
    is_trained_on: bool
    missing: set[Part] = field(default_factory=lambda: {"score"})


class Collector:
    """Samples prompts; grades each group and scores it under the reference and the critic once it is sampled.

    Thread-safe. A thread that waits for its own groups calls `poll`, which advances the groups of all threads.
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
        self._open: dict[int, _Open] = {}  # by ticket
        self.failure = rollouts.failure
        key = "deadlines.update_s"
        self._kls = Pending("reference", deadlines.update_s, key)
        self._teacher_scores = Pending("teacher", deadlines.update_s, key)
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
    ) -> list[GroupHandle]:
        """Start sampling every prompt; each returned handle is put into `inbox` once it is complete.

        Args:
            prompts: what to answer.
            seeds: one per prompt.
            spec: how to sample.
            inbox: where complete groups go.
            reference: False skips the reference model, the critic and the teacher (evaluation).

        Raises:
            MedrayError: the run has failed.
        """
        with self._lock, self.failure.shared():
            groups = self.rollouts.submit(prompts, seeds, spec)
            self._open |= {group.ticket: _Open(group, inbox, reference) for group in groups}
            return groups

    def oldest_version(self, group: GroupHandle) -> int | None:
        """Oldest policy version that any token of a group may have; None once the group is sampled."""
        return self.rollouts.oldest_version(group.ticket)

    def poll(self, timeout_s: float) -> None:
        """Wait for any result, at most `timeout_s` seconds, and process what arrived.

        Raises:
            DeadlineExceeded, WorkerLost, GraderError, WeightSyncError: the message names the actor. Whichever thread
                meets it, every later call of any thread raises it too.
        """
        # One thread at a time: a stream's next item goes to whoever takes it. Locks are not fair, so a thread that
        # finds another polling waits no longer than for results: the other advances its groups as well.
        if not self._polling.acquire(timeout=timeout_s):
            return self.failure.check()
        try:
            self._advance(timeout_s)
        finally:
            self._polling.release()

    def _advance(self, timeout_s: float) -> None:
        with self.failure.shared():
            with self._lock:
                scoring = [*self._kls.refs(), *self._teacher_scores.refs()]
                refs = [*self.rollouts.refs(), *self.graders.refs(), *scoring]
            # `_lock` is released during the wait, so other threads can submit meanwhile.
            ready = ready_of(refs, timeout_s)
            with self._lock:
                self._on_sampled(self.rollouts.take(ready))
                for ticket, score in self.graders.take(ready).items():
                    self._open[ticket].group.on_scored(score)
                    self._has(ticket, "score")
                for ticket, kl in self._kls.take(ready).items():
                    self._open[ticket].group.reference_kl = kl
                    self._has(ticket, "reference")
                for ticket in self._teacher_scores.take(ready):
                    self._has(ticket, "teacher")

    def collect(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        spec: GenerateSpec,
        *,
        reference: bool = True,
        may_be_empty: bool = False,
    ) -> list[GroupHandle]:
        """Sample and score prompts, and wait for all of them.

        Args:
            prompts: prompts to sample.
            seeds: one per prompt.
            spec: sampling parameters.
            reference: False skips the reference model, the critic and the teacher (evaluation).
            may_be_empty: allow an empty result, as when refilling a batch.

        Returns:
            Scored groups in the order of `prompts`, without those that no grader could score.

        Raises:
            GraderError: no group could be scored, and `may_be_empty` is False.
        """
        inbox: Inbox = deque()
        groups = self.submit(prompts, seeds, spec, inbox, reference=reference)
        while len(inbox) < len(groups):
            self.poll(POLL_S / 5)
        found = [group for group in groups if not group.is_dropped]
        if prompts and not may_be_empty and not found:
            raise GraderError(NOTHING_SCORED)
        return found

    def _on_sampled(self, groups: Sequence[GroupHandle]) -> None:
        for group in groups:
            if group.is_dropped:  # by its environment: there is nothing to score
                self._has(group.ticket, "score")
        sampled = [group for group in groups if not group.is_dropped]
        self.graders.submit(sampled)
        for group in sampled:
            if self._open[group.ticket].is_trained_on:
                self._start_scoring(group)

    def _start_scoring(self, group: GroupHandle) -> None:
        """Start the reference, critic and teacher passes of a group, where the job has them."""
        ticket, prompt_id = group.ticket, group.prompt.record.id
        missing = self._open[ticket].missing
        if self.reference is not None:
            kl, group.reference = self.reference.reference_logprobs(ticket, group.tokens)
            self._kls.add(kl, ticket, self.reference.name_of(ticket), f"prompt {prompt_id}")
            missing.add("reference")
        if self.critic is not None:
            group.values = self.critic.values(ticket, group.tokens)
        if self.teacher is not None:
            done, group.teacher_tokens = self.teacher.teach(ticket, group.tokens)
            self._teacher_scores.add(
                done, ticket, self.teacher.name_of(ticket), f"prompt {prompt_id}"
            )
            missing.add("teacher")

    def _has(self, ticket: int, part: Part) -> None:
        waiting = self._open[ticket]
        waiting.missing.discard(part)
        if not waiting.missing:
            del self._open[ticket]
            waiting.inbox.append(waiting.group)
