"""A batch of graded groups with their advantages: its optimizer steps and its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from medray.actors.groups import GroupHandle, TrainItem
from medray.actors.ray_calls.wait import Ref
from medray.config.algorithms.base import AlgorithmConfig
from medray.config.policy import PolicyConfig
from medray.types import Floats, GroupMeta

ScoreOld = Callable[[Sequence[Ref]], Sequence[Ref]]
"""Groups -> their log-probabilities under the present weights."""


@dataclass(frozen=True)
class Batch:
    """What one step trains on, and what it sampled besides."""

    groups: tuple[GroupHandle, ...]  # [P]
    advantages: tuple[Floats, ...]  # [P][G]
    dropped: tuple[GroupHandle, ...] = ()  # replaced, since they had no signal
    counts: Mapping[str, float] = field(default_factory=dict)  # metrics of how the batch was made
    kl_slope: float = (
        0.0  # advantage per nat of KL that follows a token; those above are then means over tokens
    )

    @property
    def sampled(self) -> tuple[GroupHandle, ...]:
        """Every group, those that were replaced last."""
        return self.groups + self.dropped

    @property
    def sampled_advantages(self) -> list[Floats]:
        """One array a sampled group; zeros for those that were replaced."""
        zeros = [np.zeros(len(s.score.rewards), dtype=np.float32) for s in self.dropped]
        return [*self.advantages, *zeros]


@dataclass(frozen=True)
class Minibatch:
    """The groups of one optimizer step."""

    number: int  # of the batch's steps, those with nothing to learn included (0-based)
    items: list[TrainItem]
    metas: list[GroupMeta]


def is_tied(advantages: Floats) -> bool:
    """True for a group whose advantages are all zero: it has no gradient, so it is not computed."""
    return bool(np.all(np.abs(advantages) <= 1e-7))


def minibatches(batch: Batch, config: AlgorithmConfig, score_old: ScoreOld) -> Iterator[Minibatch]:
    """The optimizer steps of a batch, tied groups left out; a minibatch with nothing to learn is skipped.

    Tied groups stay in where they have a gradient of their own, from a KL term, an entropy bonus or a teacher, and
    under `zero_advantages`: the control experiment takes every step.

    Args:
        batch: what to train on.
        config: how it is cut.
        score_old: asked once for all groups that are trained on, before the first step, if the loss needs it.
    """
    has_kl = config.kl.coef > 0 and config.kl.place == "loss"
    has_other_terms = has_kl or config.entropy_coef > 0 or config.distill is not None
    keep_tied = config.zero_advantages or has_other_terms or batch.kl_slope > 0
    kept = [trained_responses(group.meta, config) for group in batch.groups]
    chosen = [
        i
        for i, (a, own) in enumerate(zip(batch.advantages, kept, strict=True))
        if own and (keep_tied or not is_tied(a[list(own)]))
    ]
    old: dict[int, Ref] = {}
    if config.needs_old_pass:
        scored = score_old([batch.groups[i].tokens for i in chosen])
        old = dict(zip(chosen, scored, strict=True))
    items = {
        i: TrainItem.of(batch.groups[i], batch.advantages[i], old.get(i), kept[i], batch.kl_slope)
        for i in chosen
    }
    metas = {i: batch.groups[i].meta.only(kept[i]) for i in chosen}
    cuts = [len(batch.groups) * k // config.minibatches for k in range(config.minibatches + 1)]
    for number, (first, end) in enumerate([*pairwise(cuts)] * config.epochs):
        part = [i for i in range(first, end) if i in items]
        if part:
            yield Minibatch(number, [items[i] for i in part], [metas[i] for i in part])


def trained_responses(meta: GroupMeta, config: PolicyConfig) -> tuple[int, ...]:
    """Which responses of a group are trained on: all, or under `mask_truncated` those that ended by themselves."""
    everyone = tuple(range(len(meta.num_response_tokens)))
    if not (config.mask_truncated and meta.truncated):
        return everyone
    return tuple(g for g in everyone if not meta.truncated[g])


def batch_metrics(batch: Batch) -> dict[str, float]:
    """Figures of everything that was sampled, how the batch was made, and how many groups have a signal."""
    tied = float(sum(is_tied(a) for a in batch.advantages))
    counts = {"groups/tied": tied, "groups/total": float(len(batch.groups))}
    return rollout_metrics(batch.sampled) | counts | dict(batch.counts)


def rollout_metrics(sampled: Sequence[GroupHandle]) -> dict[str, float]:
    """Rewards and lengths of sampled groups."""
    rewards = np.array([r for s in sampled for r in s.score.rewards])
    group_means = np.array([np.mean(s.score.rewards) for s in sampled])
    lengths = np.array([n for s in sampled for n in s.meta.sampled_lengths])
    prompt_tokens = sum(s.meta.num_prompt_tokens for s in sampled)
    samples = sum(len(s.meta.num_response_tokens) * s.meta.num_prompt_tokens for s in sampled)
    metrics = {
        "reward/mean": float(rewards.mean()),
        "reward/sem": float(group_means.std(ddof=1) / np.sqrt(len(group_means)))
        if len(sampled) > 1
        else 0.0,
        "reward/max": float(rewards.max()),
        "rollout/stop_share": sum(s.meta.num_stopped for s in sampled) / len(lengths),
        "rollout/length_mean": float(lengths.mean()),
        "rollout/tokens": float(sum(s.meta.num_sampled_tokens for s in sampled)),
        "rollout/prompt_tokens": float(prompt_tokens),
        "rollout/cache_hit_share": sum(s.meta.num_cached_tokens for s in sampled) / max(1, samples),
    }
    for part in sampled[0].score.parts:
        metrics[f"reward/{part}"] = float(
            np.mean([v for s in sampled for v in s.score.parts[part]])
        )
    if sampled[0].reference_kl:
        metrics["policy/kl_ref_sequence"] = float(
            np.mean([k.total for s in sampled for k in s.reference_kl])
        )
    return metrics
