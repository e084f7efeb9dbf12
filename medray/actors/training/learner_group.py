"""The ranks of the learner, driven as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medray.actors.groups import TrainItem
from medray.actors.ray_calls.failure import RunFailure
from medray.actors.ray_calls.wait import Ref, gather
from medray.actors.weights.publish import Form, PublishedWeights
from medray.config.cluster import DeadlineConfig
from medray.config.rl import RlJob
from medray.data.batches.packing import balance
from medray.observability.meters import Meters
from medray.types import GroupMeta, Probe, StepTotals, WeightManifest


def step_calls(
    ranks: Sequence[Any],
    call: Callable[[Any, Sequence[Any], StepTotals], Ref],
    name: str,
    items: Sequence[Any],
    metas: Sequence[GroupMeta],
) -> dict[str, Ref]:
    """Have every rank take its share of `items` with the step's denominators.

    Shares are such that ranks have about the same number of tokens.

    Args:
        ranks: actors of one model.
        call: calls the method of a rank that takes its items and the totals.
        name: what the ranks are called in messages.
        items: one a group.
        metas: sizes of the groups, in the same order.
    """
    totals = StepTotals(
        num_tokens=sum(m.num_sampled_tokens for m in metas),
        num_sequences=sum(len(m.num_response_tokens) for m in metas),
        num_groups=len(items),
    )
    shares = balance([m.num_tokens for m in metas], len(ranks))
    return {
        f"{name} rank {r}": call(rank, [items[i] for i in share], totals)
        for r, (rank, share) in enumerate(zip(ranks, shares, strict=True))
    }


def merged_meters(
    calls: Mapping[str, Ref], deadlines: DeadlineConfig, failure: RunFailure | None = None
) -> Meters:
    """Wait for the steps of all ranks, or for the run's failure elsewhere; their metrics together."""
    found = gather(
        calls,
        deadline_s=deadlines.update_s,
        doing="update",
        key="deadlines.update_s",
        check=failure.check if failure else None,
    )
    return Meters.merged(found.values())


class LearnerGroup:
    """All ranks of the policy. Every method waits at most the job's deadline for it."""

    def __init__(self, ranks: Sequence[Any], job: RlJob, failure: RunFailure | None = None) -> None:
        """`failure`: of the run, which ends every wait."""
        self.ranks = list(ranks)
        self.deadlines = job.deadlines
        self.failure = failure or RunFailure()
        # Who must take part when the whole model is needed.
        self.holders = self.ranks if job.learner.shards_weights else self.ranks[:1]

    def update(self, items: Sequence[TrainItem], metas: Sequence[GroupMeta], place: int) -> Meters:
        """One optimizer step over `items`, spread so that ranks have about the same number of tokens."""
        calls = self.update_calls(items, metas, place)
        return merged_meters(calls, self.deadlines, self.failure)

    def update_calls(
        self, items: Sequence[TrainItem], metas: Sequence[GroupMeta], place: int
    ) -> dict[str, Ref]:
        """Start one optimizer step over `items`; one call a rank, each to give its `Meters`."""
        return step_calls(
            self.ranks, lambda rank, *own: rank.update.remote(*own, place), "learner", items, metas
        )

    def publish(self, version: int, form: Form = "merged") -> PublishedWeights:
        """Put the weights into the object store under `version`, adapted ones in this form."""
        refs = [rank.publish.remote(version, form) for rank in self.holders]
        return self._first(refs, "sync_s", "publish weights")

    def probe(self) -> Probe:
        """The probe text scored under the present weights."""
        refs = [rank.probe.remote() for rank in self.holders]
        return self._first(refs, "sync_s", "score the probe")

    def connect(self, engines: Sequence[Any]) -> None:
        """Join the engines through vLLM's own transfer backend."""
        ref = self.ranks[0].connect.remote(list(engines))
        self._first([ref], "start_s", "connect learner and engines")

    def send(self, version: int) -> WeightManifest:
        """Push the weights to the connected engines."""
        ref = self.ranks[0].send.remote(version)
        return self._first([ref], "sync_s", f"send weights {version}")

    def save(self, step: int, scalars: Mapping[str, Any]) -> str:
        """Write a checkpoint; returns its folder."""
        refs = [rank.save.remote(step, scalars) for rank in self.ranks]
        return self._first(refs, "save_s", "save checkpoint")

    def old_logprobs(self, groups: Sequence[Ref]) -> list[Ref]:
        """Start scoring groups under the present weights, spread over the ranks; every later update comes after."""
        refs: list[Ref] = []
        for first in range(0, len(groups), len(self.ranks)):
            wave = groups[first : first + len(self.ranks)]
            refs += [rank.old_logprobs.remote(g) for rank, g in zip(self.ranks, wave, strict=False)]
            for rank in self.holders[len(wave) :]:
                rank.old_logprobs.remote(None)
        return refs

    def name_of(self, index: int) -> str:
        """The rank that scores group `index` under the reference, for messages."""
        return f"learner rank {index % len(self.ranks)}"

    def reference_logprobs(self, index: int, group: Ref) -> tuple[Ref, Ref]:
        """Start scoring a group under the adapter's base, on the ranks in turn, each of which must hold it whole."""
        rank = self.ranks[index % len(self.ranks)]
        kl, logprobs = rank.reference_logprobs.options(num_returns=2).remote(group)
        return kl, logprobs

    def _first(self, refs: Sequence[Ref], deadline: str, doing: str) -> Any:
        calls = {f"learner rank {r}": ref for r, ref in enumerate(refs)}
        return gather(
            calls,
            deadline_s=getattr(self.deadlines, deadline),
            doing=doing,
            key=f"deadlines.{deadline}",
            check=self.failure.check,
        )["learner rank 0"]
