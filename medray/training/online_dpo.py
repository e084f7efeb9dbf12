"""Online DPO: sample, label the best and the worst response of each prompt by reward, train on the pairs, sync."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from medray.actors.groups import GroupHandle, TrainItem
from medray.actors.workers import Workers
from medray.config.online_dpo import OnlineDpoConfig, OnlineDpoJob
from medray.observability.meters import Meters
from medray.training.batch import rollout_metrics, trained_responses
from medray.training.rl_loop import Recorded, train_rl
from medray.training.sampling import SampledStep
from medray.training.steps import Run
from medray.types import Floats

Pair = tuple[int, int]
"""Responses of a group: the chosen one, then the rejected one."""


@dataclass(frozen=True)
class PairBatch:
    """Groups of a step, and the pair that each gives; None where it gives none."""

    groups: tuple[GroupHandle, ...]
    pairs: tuple[Pair | None, ...]
    counts: Mapping[str, float]


def train_online_dpo(job: OnlineDpoJob, workers: Workers, run: Run) -> None:
    """Train on preference pairs of the policy's own samples.

    Raises:
        MedrayError: as `train_rl`.
    """
    train_rl(job, workers, run, OnlineDpo(job, workers))


class OnlineDpo:
    """The `Method` of online DPO."""

    def __init__(self, job: OnlineDpoJob, workers: Workers) -> None:
        self.job = job
        self.workers = workers

    def estimate(self, step: int, sampled: SampledStep) -> PairBatch:
        """Label a pair in each group."""
        config = self.job.algorithm
        pairs = tuple(pair_of(group, config) for group in sampled.groups)
        return PairBatch(tuple(sampled.groups), pairs, sampled.counts)

    def update(self, step: int, batch: PairBatch) -> Meters:
        """Take one optimizer step per minibatch that has a pair."""
        meters = Meters()
        before = (step - 1) * self.job.optim_steps_per_batch
        for number, part in pair_minibatches(batch.pairs, self.job.algorithm):
            items, metas = [], []
            for i, pair in part:
                group = batch.groups[i]
                items.append(TrainItem.of(group, _signs(group, pair), kept=pair))
                metas.append(group.meta.only(pair))
            meters.merge(self.workers.update(items, metas, place=before + number))
        return meters

    def recorded(self, batch: PairBatch) -> Recorded:
        """Return the groups, with 1 for a chosen and -1 for a rejected response as advantages."""
        signs = [_signs(g, pair) for g, pair in zip(batch.groups, batch.pairs, strict=True)]
        return batch.groups, signs

    def metrics(self, batch: PairBatch) -> dict[str, float]:
        """Return figures of the rollouts and of the labels."""
        gaps = [
            group.score.rewards[pair[0]] - group.score.rewards[pair[1]]
            for group, pair in zip(batch.groups, batch.pairs, strict=True)
            if pair is not None
        ]
        counts = {
            "groups/total": float(len(batch.groups)),
            "groups/tied": float(len(batch.groups) - len(gaps)),
        }
        gap = {"reward/pair_gap": float(np.mean(gaps))} if gaps else {}
        return rollout_metrics(batch.groups) | counts | gap | dict(batch.counts)

    def end_step(self, batch: PairBatch) -> None:
        """Keep nothing from step to step."""

    def state(self) -> Mapping[str, Any]:
        """Return nothing: the loop's own position is all there is."""
        return {}


def pair_of(group: GroupHandle, config: OnlineDpoConfig) -> Pair | None:
    """The best and the worst response of a group by reward, the first of equal ones; None where none is better.

    Responses that `mask_truncated` leaves out make no pair.
    """
    rewards = group.score.rewards
    kept = trained_responses(group.meta, config)
    if not kept:
        return None
    best, worst = max(kept, key=rewards.__getitem__), min(kept, key=rewards.__getitem__)
    return None if rewards[best] - rewards[worst] < config.pairs.min_gap else (best, worst)


def pair_minibatches(
    pairs: Sequence[Pair | None], config: OnlineDpoConfig
) -> Iterator[tuple[int, list[tuple[int, Pair]]]]:
    """Number of each optimizer step (0-based) and its groups with their pairs; a step without pairs is left out."""
    cuts = [len(pairs) * k // config.minibatches for k in range(config.minibatches + 1)]
    for number, (first, end) in enumerate([*pairwise(cuts)] * config.epochs):
        part = [(i, pair) for i in range(first, end) if (pair := pairs[i]) is not None]
        if part:
            yield number, part


def _signs(group: GroupHandle, pair: Pair | None) -> Floats:
    signs = np.zeros(len(group.score.rewards), dtype=np.float32)
    if pair is not None:
        signs[list(pair)] = 1, -1
    return signs
