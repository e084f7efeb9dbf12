"""Held-out evaluation: greedy answers, graded like rollouts, with 95% intervals."""

from __future__ import annotations

from collections.abc import Sequence

from medray.actors.collector import Collector
from medray.config.rl import RlJob
from medray.observability.held_out import PREFIX, with_ends
from medray.observability.intervals import interval_of
from medray.types import GenerateSpec, Prompt, SamplingContract


class Evaluator:
    """Answers the held-out prompts under the engines' present weights."""

    def __init__(self, job: RlJob, collector: Collector, held_out: Sequence[Prompt]) -> None:
        self.prompts = tuple(held_out)[: job.evaluation.num_items]
        self.collector = collector
        longest = job.evaluation.max_new_tokens or job.rollout.max_new_tokens
        self.spec = GenerateSpec(SamplingContract(temperature=0.0), 1, longest, job.rollout.stop)

    def __call__(self) -> dict[str, float]:
        """Metrics `eval/reward`, `eval/stop_share` and one a reward part, each with `_low` and `_high`."""
        if not self.prompts:
            return {}
        batch = self.collector.collect(
            self.prompts, [0] * len(self.prompts), self.spec, reference=False
        )
        columns = {
            "reward": [s.score.rewards[0] for s in batch],
            "stop_share": [float(s.meta.num_stopped) for s in batch],
        }
        columns |= {part: [s.score.parts[part][0] for s in batch] for part in batch[0].score.parts}
        metrics = {f"{PREFIX}num_items": float(len(batch))}
        for name, values in columns.items():
            metrics |= with_ends(PREFIX + name, interval_of(values))
        return metrics
