"""The PPO driver's workers in one process: the toy policy's, a real critic, and a frozen copy as reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medray.actors.groups import GroupHandle, TrainItem
from medray.actors.training.critic import METRIC_NAMES
from medray.config.ppo import PpoJob
from medray.data.batches.trees import rollout_tree, value_tree
from medray.learners.build import build_critic
from medray.learners.estimates import Estimates, EstimateSummary, estimate
from medray.learners.objectives.value import ValueRegression
from medray.learners.reference import score_reference
from medray.learners.scorer import Scorer
from medray.models.load import load_policy
from medray.observability.meters import Meters
from medray.types import Floats, GroupMeta, StepTotals
from tests.support.toy_workers import ToyWorkers


class ToyPpoWorkers(ToyWorkers):
    """What travels as a reference among actors is here the thing itself."""

    def __init__(self, job: PpoJob) -> None:
        super().__init__(job)  # type: ignore[arg-type]
        self.ppo = job
        self.critic = build_critic(job, 0, ("", 0), None)
        self.reference = Scorer(load_policy(job.model, seed=job.seed, trainable=False))
        self.critics = self
        self.log: list[str] = []
        self.kl_coefs: list[float] = []

    def collect(self, *arguments: Any, reference: bool = True, **keys: Any) -> list[GroupHandle]:
        groups = super().collect(*arguments, reference=reference, **keys)
        return [self._seen(scored) for scored in groups] if reference else groups

    def _seen(self, scored: GroupHandle) -> GroupHandle:
        kl, ref_logp = score_reference(
            self.reference, scored.tokens, self.ppo.algorithm.kl.estimator
        )
        [values] = self.critic.scorer.values([rollout_tree(scored.tokens)])
        scored.reference, scored.reference_kl, scored.values = ref_logp, kl, values
        return scored

    def estimate(
        self, groups: Sequence[GroupHandle], scores: Sequence[Floats], kl_coef: float
    ) -> tuple[list[EstimateSummary], list[Estimates]]:
        self.kl_coefs.append(kl_coef)
        found = [
            estimate(s.tokens, s.values, s.reference, own, self.ppo.algorithm, kl_coef)
            for s, own in zip(groups, scores, strict=True)
        ]
        return [summary for summary, _ in found], [estimates for _, estimates in found]

    def update(
        self,
        items: Sequence[TrainItem],
        metas: Sequence[GroupMeta],
        critic_items: Sequence[TrainItem] = (),
        *,
        place: int,
    ) -> Meters:
        meters = Meters()
        if items:
            own = [replace(i, advantages=_whitened(i.advantages)) for i in items]
            meters.merge(super().update(own, metas, place=place))
        if critic_items:
            meters.merge(self._fit(critic_items, metas, place))
        self.log.append(f"policy {len(items)} critic {len(critic_items)}")
        return meters

    def _fit(self, items: Sequence[TrainItem], metas: Sequence[GroupMeta], place: int) -> Meters:
        lengths = [n for meta in metas for n in meta.num_response_tokens]
        trees = [
            value_tree(i.tokens, i.estimates.returns, i.estimates.values, i.kept) for i in items
        ]
        totals = StepTotals(sum(lengths), len(lengths), len(items))
        objective = ValueRegression(self.ppo.critic.loss)
        meters = self.critic.forward_backward(trees, objective, totals)
        return meters.merge(self.critic.optim_step(place)).renamed(METRIC_NAMES)


def _whitened(known: Any) -> list[np.ndarray]:
    return [(a - known.mean) / known.std for a in known.estimates.advantages]
