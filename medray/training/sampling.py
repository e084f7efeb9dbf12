"""The groups of a training step: prompts from the stream, sampled and graded, and the advantages of critic-free RL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medray.actors.collector import Collector
from medray.actors.groups import GroupHandle
from medray.config.algorithms.base import DynamicSamplingConfig
from medray.config.grpo import GrpoJob
from medray.config.reward import reward_names
from medray.config.rl import RlJob
from medray.data.batches.stream import PromptStream
from medray.engines.base import prompt_seed
from medray.losses.advantages import tied
from medray.training.advantages import advantages_of, estimator_of, overlong_penalty
from medray.training.batch import Batch
from medray.types import GenerateSpec, SamplingContract


@dataclass(frozen=True)
class SampledStep:
    """A step's groups: those to train on, the tied groups that were replaced, and metrics of both."""

    groups: list[GroupHandle]
    dropped: list[GroupHandle] = field(default_factory=list[GroupHandle])
    counts: dict[str, float] = field(default_factory=dict[str, float])


def train_spec(job: RlJob) -> GenerateSpec:
    """Build the sampling parameters of training rollouts."""
    r = job.rollout
    sampling = SamplingContract(r.temperature, r.top_p, r.top_k, r.min_p)
    return GenerateSpec(sampling, r.samples_per_prompt, r.max_new_tokens, r.stop)


def greedy_spec(job: GrpoJob) -> GenerateSpec:
    """Build the parameters of the greedy baseline response (ReMax)."""
    greedy = SamplingContract(temperature=0.0)
    return GenerateSpec(greedy, 1, job.rollout.max_new_tokens, job.rollout.stop)


def refills(job: RlJob) -> DynamicSamplingConfig | None:
    """Return the settings for replacing tied groups; None for algorithms that do not compare a group's samples."""
    return job.algorithm.dynamic_sampling if isinstance(job, GrpoJob) else None


class PromptSource:
    """Synchronous source of groups: takes prompts from the stream and waits until they are sampled and graded.

    Seeds derive from a prompt's position in the stream, and which prompts are taken depends only on that position and
    on rewards. A resumed run therefore samples exactly what an uninterrupted one would have.
    """

    def __init__(self, job: RlJob, collector: Collector, stream: PromptStream) -> None:
        self.seed = job.seed
        self.size = job.rollout.prompts_per_step
        self.refills = refills(job)
        self.collector = collector
        self.stream = stream
        self.spec = train_spec(job)

    def on_new_weights(self, version: int) -> None:
        """Called after each weight sync; a synchronous source has nothing to do."""

    @property
    def position(self) -> Mapping[str, Any]:
        """Position of the prompt stream, as JSON values for a checkpoint."""
        position = self.stream.position
        return {"prompt_position": position, **self.stream.state_from(position)}

    def next_groups(self) -> SampledStep:
        """Return `rollout.prompts_per_step` scored groups; fewer if graders failed on some."""
        if self.refills is None:
            return SampledStep(self._ask(self.size), counts=self.stream.metrics())
        kept: list[GroupHandle] = []
        tying: list[GroupHandle] = []
        rounds = 0
        while len(kept) < self.size and rounds < self.refills.max_rounds:
            # Request only as many prompts as are missing, so that no group with a signal is wasted.
            for group in self._ask(self.size - len(kept), may_be_empty=rounds > 0):
                (tying if tied(group.score.rewards) else kept).append(group)
            rounds += 1
        filling, dropped = tying[: self.size - len(kept)], tying[self.size - len(kept) :]
        counts = {"groups/dropped": float(len(dropped)), "groups/rounds": float(rounds)}
        return SampledStep(kept + filling, dropped, counts | self.stream.metrics())

    def _ask(self, count: int, *, may_be_empty: bool = False) -> list[GroupHandle]:
        start = self.stream.position
        prompts = self.stream.take(count)
        seeds = [prompt_seed(self.seed, start + i) for i in range(count)]
        groups = self.collector.collect(prompts, seeds, self.spec, may_be_empty=may_be_empty)
        self.stream.observe((group.prompt, group.score.rewards) for group in groups)
        return groups


def estimate_batch(job: GrpoJob, sampled: SampledStep, collector: Collector) -> Batch:
    """Compute the advantages of a step's groups with the algorithm's critic-free estimator.

    Args:
        job: selects the estimator and the reward shaping.
        sampled: the step's groups.
        collector: samples and grades the greedy responses, for the estimator that needs them (ReMax).
    """
    config, limit = job.algorithm, job.rollout.max_new_tokens
    groups, counts = sampled.groups, dict(sampled.counts)
    greedy: list[float] = []
    if estimator_of(config).needs_greedy:
        groups, greedy, spent = _greedy_rewards(job, groups, collector)
        counts |= spent
    if config.overlong is not None:
        lost = [float(p) for group in groups for p in overlong_penalty(group, config, limit)]
        counts["reward/overlong_penalty"] = sum(lost) / len(lost)
    names = reward_names(job.rewards)
    weights = {name: one.weight for name, one in zip(names, job.rewards, strict=True)}
    advantages = advantages_of(groups, config, limit, greedy, weights)
    dropped = tuple(sampled.dropped)
    return Batch(tuple(groups), tuple(advantages.values), dropped, counts, advantages.kl_slope)


def _greedy_rewards(
    job: GrpoJob, groups: list[GroupHandle], collector: Collector
) -> tuple[list[GroupHandle], list[float], dict[str, float]]:
    """Return the groups whose greedy response was graded, its rewards in the same order, and metrics."""
    prompts = [group.prompt for group in groups]
    answered = collector.collect(prompts, [0] * len(prompts), greedy_spec(job), reference=False)
    reward_of = {group.prompt.record.id: group.score.rewards[0] for group in answered}
    graded = [group for group in groups if group.prompt.record.id in reward_of]
    rewards = [reward_of[group.prompt.record.id] for group in graded]
    tokens = sum(group.meta.num_sampled_tokens for group in answered)
    counts = {
        "reward/greedy": sum(rewards) / len(rewards),
        "rollout/greedy_tokens": float(tokens),
    }
    return graded, rewards, counts
