"""Held-out evaluation of a supervised run: the loss and the metrics of its stage."""

from __future__ import annotations

from collections.abc import Sequence

from medray.data.batches.feed import deal
from medray.learners.held_out.likelihood import perplexity_of
from medray.learners.held_out.pair_metrics import pair_metrics
from medray.learners.learner import Learner
from medray.learners.objectives.base import Objective
from medray.learners.reference import Reference
from medray.observability.held_out import PREFIX, with_ends
from medray.observability.intervals import share_interval
from medray.observability.meters import Meters
from medray.types import PromptTree


class HeldOutEvaluator:
    """Evaluates a learner on the same rows every time; all ranks call it and get the same figures."""

    def __init__(self, rows: Sequence[PromptTree], reference: Reference) -> None:
        self.rows = rows
        self.reference = reference

    @property
    def num_rows(self) -> int:
        """Held-out rows, over all ranks."""
        return len(self.rows)

    def __call__(self, learner: Learner, objective: Objective) -> dict[str, float]:
        """Metrics `eval/...`; accuracies over pairs and solutions with the ends of their 95% intervals."""
        ranks = learner.strategy
        own = deal([tree.num_tokens for tree in self.rows], ranks.rank, ranks.world_size)
        trees = self.reference([self.rows[i] for i in own])
        merged = Meters.merged(ranks.gather(learner.evaluate(trees, objective)))
        metrics = merged.values()
        if "lm/nll_nats" in metrics:
            metrics["lm/perplexity"] = perplexity_of(metrics["lm/nll_nats"])
        if objective.output == "score":
            del metrics["reward/accuracy"]  # `pair_metrics` includes it
            metrics |= self._pairs(learner, trees)
        for name in ("reward/pair_accuracy", "preference/accuracy", "process/first_error_accuracy"):
            if name in metrics:
                metrics |= with_ends(name, share_interval(metrics[name], self.num_rows))
        metrics["num_rows"] = float(self.num_rows)
        return {PREFIX + name: value for name, value in metrics.items()}

    def _pairs(self, learner: Learner, trees: Sequence[PromptTree]) -> dict[str, float]:
        scored = [
            (scores, tuple(int(c.trained.sum()) for c in tree.continuations))
            for tree, scores in zip(trees, learner.scorer.scores(trees), strict=True)
        ]
        every = [pair for part in learner.strategy.gather(scored) for pair in part]
        return pair_metrics(
            [(s[0], s[1]) for s, _ in every], [(n[0], n[1]) for _, n in every]
        ).metrics()
