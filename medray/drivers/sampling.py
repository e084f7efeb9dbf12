"""A step's batch: prompts from the stream, their graded samples, and what the algorithm asks for besides."""

from __future__ import annotations

from medray.actors.collect import Collector, ScoredGroup
from medray.config.grpo import GrpoJob
from medray.config.rl import RlJob
from medray.data.stream import PromptStream
from medray.drivers.advantages import ESTIMATORS, advantages_of, overlong_penalty
from medray.drivers.batch import Batch
from medray.engines.base import prompt_seed
from medray.losses.advantages import tied
from medray.types import GenerateSpec, Prompt, SamplingContract

Asked = tuple[Prompt, ScoredGroup]


def train_spec(job: RlJob) -> GenerateSpec:
    """How training rollouts are sampled."""
    r = job.rollout
    sampling = SamplingContract(r.temperature, r.top_p, r.top_k, r.min_p)
    return GenerateSpec(sampling, r.samples_per_prompt, r.max_new_tokens, r.stop)


def greedy_spec(job: GrpoJob) -> GenerateSpec:
    """How the greedy response to a training prompt is decoded."""
    greedy = SamplingContract(temperature=0.0)
    return GenerateSpec(greedy, 1, job.rollout.max_new_tokens, job.rollout.stop)


class PromptSource:
    """Takes prompts from the stream and has them answered.

    A prompt's seed comes from its place in the stream, so a run that continues from a checkpoint of the position
    samples what an undisturbed one would have sampled.
    """

    def __init__(self, job: RlJob, collector: Collector, stream: PromptStream) -> None:
        self.seed = job.seed
        self.collector = collector
        self.stream = stream
        self.spec = train_spec(job)

    def take(self, count: int) -> list[ScoredGroup]:
        """Scored groups of the next `count` prompts; fewer where graders gave some of them up."""
        return [scored for _, scored in self.ask(count)]

    def ask(self, count: int, *, may_be_empty: bool = False) -> list[Asked]:
        """The same, each group with its prompt."""
        start = self.stream.position
        prompts = self.stream.take(count)
        seeds = [prompt_seed(self.seed, start + i) for i in range(count)]
        asked = {prompt.record.id: prompt for prompt in prompts}
        scored = self.collector.collect(prompts, seeds, self.spec, may_be_empty=may_be_empty)
        return [(asked[s.meta.prompt_id], s) for s in scored]


class BatchSource:
    """Makes batches of groups for algorithms without a critic.

    What is taken depends on the stream's position and the rewards alone, so a run that continues makes the batches
    an undisturbed one would have made.
    """

    def __init__(self, job: GrpoJob, collector: Collector, stream: PromptStream) -> None:
        self.job = job
        self.config = job.algorithm
        self.collector = collector
        self.stream = stream
        self.source = PromptSource(job, collector, stream)

    def next_batch(self) -> Batch:
        """`rollout.prompts_per_step` groups with their advantages; fewer where graders gave some of them up."""
        kept, dropped, counts = self._sample_groups()
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
        return Batch(groups, tuple(advantages), tuple(scored for _, scored in dropped), counts)

    def _sample_groups(self) -> tuple[list[Asked], list[Asked], dict[str, float]]:
        wanted = self.job.rollout.prompts_per_step
        if self.config.dynamic_sampling is None:
            return self.source.ask(wanted), [], {}
        kept: list[Asked] = []
        tying: list[Asked] = []
        rounds = 0
        while len(kept) < wanted and rounds < self.config.dynamic_sampling.max_rounds:
            # No more prompts than groups are missing, so no group with a signal is wasted.
            for asked in self.source.ask(wanted - len(kept), may_be_empty=rounds > 0):
                (tying if tied(asked[1].score.rewards) else kept).append(asked)
            rounds += 1
        filling, dropped = tying[: wanted - len(kept)], tying[wanted - len(kept) :]
        counts = {"groups/dropped": float(len(dropped)), "groups/rounds": float(rounds)}
        return kept + filling, dropped, counts

    def _greedy_rewards(
        self, asked: list[Asked]
    ) -> tuple[list[Asked], list[float], dict[str, float]]:
        prompts = [prompt for prompt, _ in asked]
        answered = self.collector.collect(
            prompts, [0] * len(prompts), greedy_spec(self.job), reference=False
        )
        reward_of = {s.meta.prompt_id: s.score.rewards[0] for s in answered}
        judged = [(prompt, s) for prompt, s in asked if s.meta.prompt_id in reward_of]
        rewards = [reward_of[s.meta.prompt_id] for _, s in judged]
        tokens = sum(sum(s.meta.num_response_tokens) for s in answered)
        return (
            judged,
            rewards,
            {
                "reward/greedy": sum(rewards) / len(rewards),
                "rollout/greedy_tokens": float(tokens),
            },
        )
