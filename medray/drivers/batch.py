"""Between a scored batch and an optimizer step: advantages, minibatches, and the batch's metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from medray.actors.collect import ScoredGroup
from medray.actors.learner import TrainItem
from medray.config.grpo import AlgorithmConfig, GrpoJob
from medray.losses.advantages import group_advantages
from medray.types import Floats, GenerateSpec, GroupMeta, SamplingContract


def train_spec(job: GrpoJob) -> GenerateSpec:
    """How training rollouts are sampled."""
    r = job.rollout
    sampling = SamplingContract(r.temperature, r.top_p, r.top_k, r.min_p)
    return GenerateSpec(sampling, r.samples_per_prompt, r.max_new_tokens, r.stop)


def advantages_of(batch: Sequence[ScoredGroup], config: AlgorithmConfig) -> list[Floats]:
    """Advantages [P][G] from the rewards, less the KL penalty where it belongs to the reward."""
    rewards = [list(s.score.rewards) for s in batch]
    if config.kl.coef > 0 and config.kl.place == "reward":
        rewards = [
            [r - config.kl.coef * kl for r, kl in zip(group, s.reference_kl, strict=True)]
            for group, s in zip(rewards, batch, strict=True)
        ]
    advantages = group_advantages(rewards, scale=config.advantage_scale)
    return [np.zeros_like(a) for a in advantages] if config.zero_advantages else advantages


def is_tied(advantages: Floats) -> bool:
    """True for a group whose advantages are all zero: it has no gradient, so it is not computed."""
    return bool(np.all(np.abs(advantages) <= 1e-7))


def minibatches(
    batch: Sequence[ScoredGroup], advantages: Sequence[Floats], config: AlgorithmConfig
) -> Iterator[tuple[list[TrainItem], list[GroupMeta]]]:
    """The optimizer steps of a batch, tied groups left out; a minibatch with nothing to learn is skipped.

    Under `zero_advantages` tied groups stay in: the control experiment takes every step.
    """
    keep_tied = config.zero_advantages or (config.kl.coef > 0 and config.kl.place == "loss")
    size = len(batch) // config.minibatches
    for _ in range(config.epochs):
        for first in range(0, len(batch), size):
            chosen = [
                (s, a)
                for s, a in zip(
                    batch[first : first + size], advantages[first : first + size], strict=True
                )
                if keep_tied or not is_tied(a)
            ]
            if chosen:
                yield (
                    [TrainItem(s.group, a, s.reference) for s, a in chosen],
                    [s.meta for s, _ in chosen],
                )


def rollout_metrics(batch: Sequence[ScoredGroup], advantages: Sequence[Floats]) -> dict[str, float]:
    """Rewards, lengths and counts of a batch."""
    rewards = np.array([r for s in batch for r in s.score.rewards])
    group_means = np.array([np.mean(s.score.rewards) for s in batch])
    lengths = np.array([n for s in batch for n in s.meta.num_response_tokens])
    prompt_tokens = sum(s.meta.num_prompt_tokens for s in batch)
    samples = sum(len(s.meta.num_response_tokens) * s.meta.num_prompt_tokens for s in batch)
    metrics = {
        "reward/mean": float(rewards.mean()),
        "reward/sem": float(group_means.std(ddof=1) / np.sqrt(len(group_means)))
        if len(batch) > 1
        else 0.0,
        "reward/max": float(rewards.max()),
        "rollout/stop_share": sum(s.meta.num_stopped for s in batch) / len(lengths),
        "rollout/length_mean": float(lengths.mean()),
        "rollout/tokens": float(lengths.sum()),
        "rollout/prompt_tokens": float(prompt_tokens),
        "rollout/cache_hit_share": sum(s.meta.num_cached_tokens for s in batch) / max(1, samples),
        "groups/tied": float(sum(is_tied(a) for a in advantages)),
        "groups/total": float(len(batch)),
    }
    for part in batch[0].score.parts:
        metrics[f"reward/{part}"] = float(np.mean([v for s in batch for v in s.score.parts[part]]))
    if batch[0].reference_kl:
        metrics["policy/kl_ref_sequence"] = float(
            np.mean([k for s in batch for k in s.reference_kl])
        )
    return metrics
