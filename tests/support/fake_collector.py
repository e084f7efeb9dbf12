"""A collector without engines: groups come back in a random order, drawn under whatever version is newest."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from medray.actors.collector import Inbox
from medray.actors.groups import ScoredGroup
from medray.types import GenerateSpec, GroupMeta, GroupScore, Prompt

Script = Callable[
    [Prompt, int], Sequence[float] | None
]  # (prompt, seed) -> rewards, None: not judged


@dataclass
class FakeCollector:
    """`poll` completes one group of those under way; `version` is set by the test."""

    script: Script
    order: random.Random = field(default_factory=lambda: random.Random(0))
    version: int = 0
    pause_s: float = 0.0
    seen: Counter[str] = field(default_factory=Counter[str])
    failure: Exception | None = None
    _open: list[tuple[int, Prompt, int, int, int, Inbox]] = field(default_factory=list)
    _tickets: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def submit(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec, inbox: Inbox, *,
        reference: bool = True,
    ) -> list[int]:  # fmt: skip
        with self._lock:
            tickets = list(range(self._tickets, self._tickets + len(prompts)))
            self._tickets += len(prompts)
            for ticket, prompt, seed in zip(tickets, prompts, seeds, strict=True):
                self.seen[prompt.record.id] += 1
                self._open.append((ticket, prompt, seed, spec.num_samples, self.version, inbox))
            return tickets

    def oldest_version(self, ticket: int) -> int | None:
        with self._lock:
            return next((began for t, _, _, _, began, _ in self._open if t == ticket), None)

    def poll(self, timeout_s: float) -> None:
        time.sleep(self.pause_s or 0.0005)
        with self._lock:
            if self.failure is not None:
                raise self.failure
            if not self._open:
                return
            at = self.order.randrange(len(self._open))
            ticket, prompt, seed, count, began, inbox = self._open.pop(at)
            began = self.order.randint(began, self.version)  # it may have queued for a while
            rewards = self.script(prompt, seed)
            if rewards is None:
                inbox.append((ticket, None))
                return
            meta = GroupMeta(
                prompt.record.id, len(prompt.token_ids), (3,) * count, 0, began, "fake", 0, self.version
            )  # fmt: skip
            score = GroupScore(tuple(rewards)[:count])
            inbox.append((ticket, ScoredGroup(meta, score, group=(prompt.record.id, seed))))

    def collect(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec, *,
        reference: bool = True, may_be_empty: bool = False,
    ) -> list[ScoredGroup]:  # fmt: skip
        inbox: Inbox = Inbox()
        tickets = self.submit(prompts, seeds, spec, inbox)
        while len(inbox) < len(tickets):
            self.poll(0)
        done = dict(inbox)
        return [scored for ticket in tickets if (scored := done[ticket]) is not None]
