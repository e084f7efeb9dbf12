"""A step's batch: prompts from the stream, their graded samples, and what the algorithm asks for besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medray.actors.collector import Collector
from medray.actors.groups import ScoredGroup
from medray.config.algorithm import DynamicSamplingConfig
from medray.config.grpo import GrpoJob
from medray.config.rl import RlJob
from medray.data.batches.stream import PromptStream
from medray.engines.base import prompt_seed
from medray.losses.advantages import tied
from medray.training.advantages import ESTIMATORS, advantages_of, overlong_penalty
from medray.training.batch import Batch
from medray.types import GenerateSpec, Prompt, SamplingContract

Asked = tuple[Prompt, ScoredGroup]


@dataclass(frozen=True)
class Groups:
    """A step's groups, each with its prompt: those to train on, those without a signal, and figures of both."""

    kept: list[Asked]
    dropped: list[Asked] = field(default_factory=list[Asked])
    counts: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def groups(self) -> list[ScoredGroup]:
        """Those to train on."""
        return [scored for _, scored in self.kept]


def train_spec(job: RlJob) -> GenerateSpec:
    """How training rollouts are sampled."""
    r = job.rollout
    sampling = SamplingContract(r.temperature, r.top_p, r.top_k, r.min_p)
    return GenerateSpec(sampling, r.samples_per_prompt, r.max_new_tokens, r.stop)


def greedy_spec(job: GrpoJob) -> GenerateSpec:
    """How the greedy response to a training prompt is decoded."""
    greedy = SamplingContract(temperature=0.0)
    return GenerateSpec(greedy, 1, job.rollout.max_new_tokens, job.rollout.stop)


def refills(job: RlJob) -> DynamicSamplingConfig | None:
    """How groups without a signal are replaced, by algorithms that compare a group's samples; None does not."""
    return job.algorithm.dynamic_sampling if isinstance(job, GrpoJob) else None


class PromptSource:
    """Takes prompts from the stream and has them answered.

    A prompt's seed comes from its place in the stream, and what is taken depends on the stream's position and the
    rewards alone, so a run that continues from a checkpoint of the position samples what an undisturbed one would have.
    """

    def __init__(self, job: RlJob, collector: Collector, stream: PromptStream) -> None:
        self.seed = job.seed
        self.size = job.rollout.prompts_per_step
        self.refills = refills(job)
        self.collector = collector
        self.stream = stream
        self.spec = train_spec(job)

    def on_new_weights(self, version: int) -> None:
        """Told whenever the engines are given new weights."""

    @property
    def position(self) -> Mapping[str, Any]:
        """Where the stream of prompts stands, for a checkpoint."""
        return {"prompt_position": self.stream.position}

    def next_groups(self) -> Groups:
        """`rollout.prompts_per_step` groups; fewer where graders gave some of them up."""
        if self.refills is None:
            return Groups(self._ask(self.size))
        kept: list[Asked] = []
        tying: list[Asked] = []
        rounds = 0
        while len(kept) < self.size and rounds < self.refills.max_rounds:
            # No more prompts than groups are missing, so no group with a signal is wasted.
            for asked in self._ask(self.size - len(kept), may_be_empty=rounds > 0):
                (tying if tied(asked[1].score.rewards) else kept).append(asked)
            rounds += 1
        filling, dropped = tying[: self.size - len(kept)], tying[self.size - len(kept) :]
        counts = {"groups/dropped": float(len(dropped)), "groups/rounds": float(rounds)}
        return Groups(kept + filling, dropped, counts)

    def _ask(self, count: int, *, may_be_empty: bool = False) -> list[Asked]:
        start = self.stream.position
        prompts = self.stream.take(count)
        seeds = [prompt_seed(self.seed, start + i) for i in range(count)]
        asked = {prompt.record.id: prompt for prompt in prompts}
        scored = self.collector.collect(prompts, seeds, self.spec, may_be_empty=may_be_empty)
        return [(asked[s.meta.prompt_id], s) for s in scored]


class BatchSource:
    """Makes batches of groups for algorithms without a critic, from a source that samples in turn or ahead."""

    def __init__(self, job: GrpoJob, source: PromptSource) -> None:
        self.job = job
        self.config = job.algorithm
        self.source = source

    def next_batch(self) -> Batch:
        """A step's groups with their advantages."""
        sampled = self.source.next_groups()
        kept, counts = sampled.kept, dict(sampled.counts)
        limit = self.job.rollout.max_new_tokens
        greedy: list[float] = []
        if ESTIMATORS[self.config.advantage].needs_greedy:
            kept, greedy, spent = self._greedy_rewards(kept)
            counts |= spent
        groups = tuple(scored for _, scored in kept)
        if self.config.overlong is not None:
            lost = [float(p) for s in groups for p in overlong_penalty(s, self.config, limit)]
            counts["reward/overlong_penalty"] = sum(lost) / len(lost)
        advantages = advantages_of(groups, self.config, limit, greedy)
        dropped = tuple(scored for _, scored in sampled.dropped)
        return Batch(groups, tuple(advantages), dropped, counts)

    def _greedy_rewards(
        self, asked: list[Asked]
    ) -> tuple[list[Asked], list[float], dict[str, float]]:
        prompts = [prompt for prompt, _ in asked]
        answered = self.source.collector.collect(
            prompts, [0] * len(prompts), greedy_spec(self.job), reference=False
        )
        reward_of = {s.meta.prompt_id: s.score.rewards[0] for s in answered}
        judged = [(prompt, s) for prompt, s in asked if s.meta.prompt_id in reward_of]
        rewards = [reward_of[s.meta.prompt_id] for _, s in judged]
        tokens = sum(s.meta.num_sampled_tokens for s in answered)
        return (
            judged,
            rewards,
            {
                "reward/greedy": sum(rewards) / len(rewards),
                "rollout/greedy_tokens": float(tokens),
            },
        )
