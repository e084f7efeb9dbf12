"""From prompts to scored groups: grading and reference passes start as each group completes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from medray.actors.graders import GraderPool
from medray.actors.member import Sampled
from medray.actors.rollouts import RolloutPool
from medray.actors.wait import Ref, fetch, ready_of
from medray.config.cluster import DeadlineConfig
from medray.errors import DeadlineExceeded, GraderError
from medray.types import GenerateSpec, GroupMeta, GroupScore, Prompt


@dataclass(frozen=True)
class ScoredGroup:
    """What the driver knows of a group: no tokens."""

    meta: GroupMeta
    score: GroupScore
    group: Ref
    reference: Ref | None = None  # the reference model's log-probabilities
    reference_kl: tuple[float, ...] = ()  # [G] nats


Inbox = deque[tuple[int, ScoredGroup | None]]
"""Where complete groups arrive: (ticket, group), None for one that no grader could judge."""

POLL_S = 0.5  # the longest a waiting thread goes without looking at deadlines
NOTHING_JUDGED = "no group of the batch could be judged: see incidents.jsonl"


class ReferenceScorer(Protocol):
    """Whoever scores groups under the reference model: its own actors, or the learner's ranks."""

    def reference_logprobs(self, index: int, group: Ref) -> tuple[Ref, Ref]:
        """Start scoring; returns refs to (KL sums, log-probabilities)."""
        ...


@dataclass
class _Open:
    """A group on its way: sampled, judged, scored by the reference."""

    inbox: Inbox
    needs_reference: bool
    sampled: Sampled | None = None
    is_judged: bool = False
    score: GroupScore | None = None
    logprobs: Ref | None = None
    kl: tuple[float, ...] | None = None

    def result(self) -> ScoredGroup | None:
        """The scored group, once it is complete; None where it was given up."""
        assert self.sampled is not None
        if self.score is None:
            return None
        return ScoredGroup(
            self.sampled.meta, self.score, self.sampled.group, self.logprobs, self.kl or ()
        )

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self.is_judged and (self.kl is not None or not self.needs_reference)


class Collector:
    """Samples prompts and has each group graded, and scored by the reference, as soon as it is whole.

    Several threads may use it: whoever waits for something moves everything on with `poll`.
    """

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
        self._open: dict[int, _Open] = {}
        self._kls: dict[Ref, tuple[int, float]] = {}  # ref -> (ticket, when asked for)
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
            reference: False skips the reference model (evaluation).
        """
        needed = reference and self.reference is not None
        with self._lock:
            tickets = self.rollouts.submit(prompts, seeds, spec)
            self._open |= {ticket: _Open(inbox, needed) for ticket in tickets}
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
                refs = [*self.rollouts.refs(), *self.graders.refs(), *self._kls]
            ready = ready_of(refs, timeout_s)
            with self._lock:
                for sampled in self.rollouts.take(ready):
                    self._on_sampled(sampled)
                for ticket, score in self.graders.take(ready).items():
                    group = self._open[ticket]
                    group.is_judged, group.score = True, score
                    self._close(ticket)
                self._take_reference(ready)

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
            reference: False skips the reference model (evaluation).
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

    def _on_sampled(self, sampled: Sampled) -> None:
        group = self._open[sampled.ticket]
        group.sampled = sampled
        self.graders.submit(sampled.ticket, sampled.meta.prompt_id, sampled.group)
        if group.needs_reference:
            assert self.reference is not None
            kl, group.logprobs = self.reference.reference_logprobs(sampled.ticket, sampled.group)
            self._kls[kl] = sampled.ticket, time.monotonic()

    def _take_reference(self, ready: Sequence[Ref]) -> None:
        for ref in [r for r in ready if r in self._kls]:
            ticket, _ = self._kls.pop(ref)
            self._open[ticket].kl = fetch(ref, name="the reference model", doing="reference")
            self._close(ticket)
        limit, now = self.deadlines.update_s, time.monotonic()
        if any(now - asked > limit for _, asked in self._kls.values()):
            raise DeadlineExceeded(
                f"reference: no answer from the reference model within {limit:g} s"
            )

    def _close(self, ticket: int) -> None:
        if (group := self._open[ticket]).is_complete:
            del self._open[ticket]
            group.inbox.append((ticket, group.result()))
