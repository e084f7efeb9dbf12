"""A batch of PPO: what was sampled, what it was worth, and the optimizer steps taken on it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from medray.actors.groups import GroupHandle, TokenAdvantages, TrainItem
from medray.actors.ray_calls.wait import Ref
from medray.actors.workers import Workers
from medray.config.ppo import PpoConfig, PpoJob
from medray.learners.estimates import EstimateSummary
from medray.losses.kl_control import KlControl
from medray.losses.moments import Moments, merged
from medray.observability.meters import Meters
from medray.training.batch import trained_responses
from medray.training.sampling import SampledStep
from medray.training.shaping import RewardShaper
from medray.types import Floats

EPS = 1e-8
POLICY_KL = "policy/kl_behaviour"


@dataclass(frozen=True)
class PpoBatch:
    """Groups [P], where the estimates of their tokens are, and what is known of them."""

    groups: tuple[GroupHandle, ...]
    estimates: tuple[Ref, ...]
    summaries: tuple[EstimateSummary, ...]
    whitening: tuple[float, float]  # mean and standard deviation that advantages are freed of
    counts: Mapping[str, float]  # metrics of how the groups were sampled

    @property
    def response_advantages(self) -> list[Floats]:
        """Mean over each response's tokens of what is trained on, [P][G]."""
        mean, std = self.whitening
        return [
            np.asarray([(a - mean) / std for a in s.response_advantages], dtype=np.float32)
            for s in self.summaries
        ]

    @property
    def reference_kl(self) -> float:
        """Mean over responses of their KL to the reference, nats; 0 without a reference."""
        sums = [k.total for scored in self.groups for k in scored.reference_kl]
        return float(np.mean(sums)) if sums else 0.0


def estimate_batch(
    sampled: SampledStep, shaper: RewardShaper, control: KlControl, workers: Workers
) -> PpoBatch:
    """Shape the rewards and have the critic's ranks turn them into advantages and returns."""
    assert isinstance(workers.job, PpoJob)
    assert workers.critics is not None
    config, groups = workers.job.algorithm, sampled.groups
    scores = shaper([scored.score.rewards for scored in groups])
    in_reward = control.coef if config.kl.place == "reward" else 0.0
    summaries, estimates = workers.critics.estimate(groups, scores, in_reward)
    whitening = (0.0, 1.0)
    if config.whiten:
        moments = merged(s.advantages for s in summaries)
        whitening = (moments.mean, moments.std + EPS)
    return PpoBatch(tuple(groups), tuple(estimates), tuple(summaries), whitening, sampled.counts)


def update_on(batch: PpoBatch, job: PpoJob, workers: Workers, step: int) -> Meters:
    """Train policy and critic on the batch, each minibatch at once.

    The policy waits for the end of the critic's warm-up, and stops for the rest of the batch after the step that
    found it further than `target_kl` from where the batch was sampled.
    """
    config, meters = job.algorithm, Meters()
    trains_policy = step > job.critic.warmup_steps
    kept = [trained_responses(scored.meta, config) for scored in batch.groups]
    items = _policy_items(batch, config, workers, kept) if trains_policy else []
    critic_items = [
        TrainItem(scored.tokens, estimates=estimates, kept=own)
        for scored, estimates, own in zip(batch.groups, batch.estimates, kept, strict=True)
    ]
    num_policy_steps = 0
    before = (step - 1) * job.optim_steps_per_batch
    for number, drawn in minibatch_indices(len(batch.groups), config, f"{job.seed}/{step}"):
        part = [i for i in drawn if kept[i]]
        if not part:
            continue
        metas = [batch.groups[i].meta.only(kept[i]) for i in part]
        own = [items[i] for i in part] if trains_policy else []
        fitted = [critic_items[i] for i in part]
        found = workers.update(own, metas, fitted, place=before + number)
        meters.merge(found)
        num_policy_steps += trains_policy
        if config.target_kl is not None:
            trains_policy &= found.values().get(POLICY_KL, 0.0) <= config.target_kl
    meters.sum("policy/num_steps", num_policy_steps)
    return meters


def minibatch_indices(
    num_groups: int, config: PpoConfig, seed: str
) -> Iterator[tuple[int, list[int]]]:
    """Number of each optimizer step (0-based) and which groups it takes: all of them once an epoch, in an order that
    the seed draws. A step without groups is left out."""
    cuts = [num_groups * k // config.minibatches for k in range(config.minibatches + 1)]
    for epoch in range(config.epochs):
        order = list(range(num_groups))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        for number, (first, end) in enumerate(pairwise(cuts), epoch * config.minibatches):
            if first < end:
                yield number, sorted(order[first:end])


def ppo_metrics(batch: PpoBatch, control: KlControl) -> dict[str, float]:
    """What the scores, the critic's values and the KL coefficient were like."""
    advantages = merged(s.advantages for s in batch.summaries)
    returns = merged(s.returns for s in batch.summaries)
    scores = Moments.of(score for s in batch.summaries for score in s.scores)
    metrics = {
        "reward/score": scores.mean,
        "value/return": returns.mean,
        "advantage/mean": advantages.mean,
        "advantage/std": advantages.std,
        "policy/kl_coef": control.coef,
    }
    if returns.variance > 0:
        residuals = merged(s.residuals for s in batch.summaries)
        metrics["value/explained_variance"] = 1 - residuals.variance / returns.variance
    return metrics


def _policy_items(
    batch: PpoBatch, config: PpoConfig, workers: Workers, kept: Sequence[tuple[int, ...]]
) -> list[TrainItem]:
    old: list[Ref | None] = [None] * len(batch.groups)
    if config.needs_old_pass:
        old = [*workers.learners.old_logprobs([s.tokens for s in batch.groups])]
    return [
        TrainItem.of(scored, TokenAdvantages(estimates, *batch.whitening), before, own)
        for scored, estimates, before, own in zip(
            batch.groups, batch.estimates, old, kept, strict=True
        )
    ]
