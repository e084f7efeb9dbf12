"""A collector without engines: groups come back in a random order, drawn under whatever version is newest."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from medray.actors.collector import Inbox
from medray.actors.groups import GroupHandle, Request
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
    _open: list[tuple[GroupHandle, int, Inbox]] = field(default_factory=list)
    _tickets: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def submit(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec, inbox: Inbox, *,
        reference: bool = True,
    ) -> list[GroupHandle]:  # fmt: skip
        with self._lock:
            groups = []
            for prompt, seed in zip(prompts, seeds, strict=True):
                self.seen[prompt.record.id] += 1
                groups.append(GroupHandle(Request(self._tickets, prompt, seed, spec)))
                self._tickets += 1
            self._open += [(group, self.version, inbox) for group in groups]
            return groups

    def oldest_version(self, group: GroupHandle) -> int | None:
        with self._lock:
            return next((began for g, began, _ in self._open if g is group), None)

    def poll(self, timeout_s: float) -> None:
        time.sleep(self.pause_s or 0.0005)
        with self._lock:
            if self.failure is not None:
                raise self.failure
            if not self._open:
                return
            at = self.order.randrange(len(self._open))
            group, began, inbox = self._open.pop(at)
            prompt, seed, count = group.prompt, group.request.seed, group.request.spec.num_samples
            began = self.order.randint(began, self.version)  # it may have queued for a while
            rewards = self.script(prompt, seed)
            meta = GroupMeta(
                prompt.record.id, len(prompt.token_ids), (3,) * count, 0, began, "fake", 0, self.version
            )  # fmt: skip
            group.on_sampled((prompt.record.id, seed), meta)
            group.on_scored(None if rewards is None else GroupScore(tuple(rewards)[:count]))
            inbox.append(group)

    def collect(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec, *,
        reference: bool = True, may_be_empty: bool = False,
    ) -> list[GroupHandle]:  # fmt: skip
        inbox: Inbox = Inbox()
        groups = self.submit(prompts, seeds, spec, inbox)
        while len(inbox) < len(groups):
            self.poll(0)
        return [group for group in groups if not group.is_dropped]
