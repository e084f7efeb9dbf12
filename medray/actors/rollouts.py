"""The rollout workers, driven as one sampler."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from medray.actors.published import PublishedWeights
from medray.actors.wait import Ref, fetch, gather, unwrap
from medray.config.grpo import GrpoJob
from medray.errors import DeadlineExceeded
from medray.types import GenerateSpec, GroupMeta, Probe, Prompt, WeightManifest


@dataclass(frozen=True)
class Sampled:
    """A complete group: its place in the order, what the driver may know, and where the tokens are."""

    index: int
    meta: GroupMeta
    group: Ref


@dataclass
class _Order:
    name: str
    stream: Any  # ray.ObjectRefGenerator
    indices: list[int]


class RolloutPool:
    """All rollout workers; they serve under one weight version at a time."""

    def __init__(self, workers: Sequence[Any], job: GrpoJob) -> None:
        self.workers = {f"rollout-{i}": worker for i, worker in enumerate(workers)}
        self.deadlines = job.deadlines
        self.version = -1
        self.asleep = False

    def load(self, published: PublishedWeights) -> float:
        """Give every worker the weights, in parallel; returns the largest probe gap in nats."""
        gaps = self._all("load", published, doing=f"weight sync {published.version}")
        self.version = published.version
        return max(gaps.values())

    def _all(self, method: str, *arguments: Any, doing: str) -> dict[str, Any]:
        calls = {n: getattr(w, method).remote(*arguments) for n, w in self.workers.items()}
        return gather(calls, deadline_s=self.deadlines.sync_s, doing=doing)

    def begin_sync(self, probe: Probe) -> None:
        """Open a transaction on every worker, for tensors that the learner will send."""
        self._all("begin_sync", probe, doing="open weight sync")

    def end_sync(self, manifest: WeightManifest) -> float:
        """Have every worker prove and serve the weights it was sent; the largest gap in nats."""
        gaps = self._all("end_sync", manifest, doing=f"weight sync {manifest.version}")
        self.version = manifest.version
        return max(gaps.values())

    def sleep(self) -> None:
        """Free the accelerators that learner and engines share."""
        if not self.asleep:
            self._all("sleep", doing="sleep")
            self.asleep = True

    def wake(self) -> None:
        """Take the accelerators' memory back."""
        if self.asleep:
            self._all("wake", doing="wake")
            self.asleep = False

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec
    ) -> Iterator[Sampled]:
        """Sample every prompt; groups are yielded as they complete, in no particular order."""
        orders = {o.stream: o for o in self._orders(prompts, seeds, spec)}
        end = time.monotonic() + self.deadlines.generate_s
        while orders:
            ready, _ = ray.wait(
                list(orders), timeout=max(0.0, end - time.monotonic()), fetch_local=False
            )
            if not ready:
                late = ", ".join(f"{o.name} ({len(o.indices)} prompts)" for o in orders.values())
                raise DeadlineExceeded(
                    f"generate: no answer from {late} within {self.deadlines.generate_s:g} s"
                )
            for stream in ready:
                sampled = self._next(orders[stream])
                if sampled is None:
                    del orders[stream]
                else:
                    yield sampled

    def _orders(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec
    ) -> Iterator[_Order]:
        count = len(self.workers)
        for w, (name, worker) in enumerate(self.workers.items()):
            indices = list(range(w, len(prompts), count))
            if indices:
                stream = worker.generate.options(num_returns="streaming").remote(
                    [prompts[i] for i in indices], [seeds[i] for i in indices], spec, self.version
                )
                yield _Order(name, stream, indices)

    def _next(self, order: _Order) -> Sampled | None:
        try:
            head = next(order.stream)
            local, meta = fetch(head, name=order.name, doing="generate")
            return Sampled(order.indices[local], meta, next(order.stream))
        except StopIteration:
            return None
        except RayError as error:
            raise unwrap(error, name=order.name, doing="generate") from None
