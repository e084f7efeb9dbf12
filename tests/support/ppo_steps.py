"""Steps of PPO as the ranks of a strategy take them: values, estimates, a step of the policy, one of the critic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from medray.actors.training.critic import METRIC_NAMES
from medray.config.critic import ValueLossConfig
from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig
from medray.config.ppo import PpoConfig
from medray.data.batches.trees import rollout_tree, value_tree
from medray.learners.estimates import estimate
from medray.learners.learner import Learner
from medray.learners.objectives.entropy import EntropyBonus
from medray.learners.objectives.value import ValueRegression
from medray.learners.strategies import make_strategy
from medray.losses.moments import merged
from medray.models.adapters.shared_base import critic_on
from medray.models.load import load_policy, load_reward_model
from medray.models.packed import PackedModel, PolicyModel
from medray.observability.meters import Meters
from medray.types import Floats, Prompt, PromptTree, Record, Response, RolloutGroup
from tests.support.trees import VOCABULARY

SHAPES = [(11, (3, 7, 12, 1)), (20, (5, 5)), (4, (2, 9, 4, 12)), (9, (3,))]
PPO = PpoConfig.model_validate({"kl": {"coef": 0.1}, "entropy_coef": 0.01, "lam": 0.9})
VALUE_LOSS = ValueLossConfig(clip=0.5)

Share = Callable[[list[PromptTree]], list[PromptTree]]


class PpoRank:
    """One rank that holds the policy and the critic, on one base or each on its own."""

    def __init__(
        self, model: ModelConfig, optim: OptimConfig, config: LearnerConfig, ranks: int, *, shared: bool
    ) -> None:  # fmt: skip
        def learner(held: PackedModel) -> Learner:
            return Learner(
                held, optim, num_optim_steps=10, config=config, strategy=make_strategy(config, ranks)
            )  # fmt: skip

        policy = load_policy(model, seed=0)
        self.policy = learner(policy)
        self.critic = learner(_on_base(policy) if shared else load_reward_model(model, seed=1))

    def step(self, number: int, share: Share) -> Meters:
        """One step of both on this rank's share of batch `number`, of which every rank values all."""
        groups, ref_logps, scores = _batch(number)
        values = self.critic.scorer.values([rollout_tree(group) for group in groups])
        found = [
            estimate(group, own, ref_logp, score, PPO, PPO.kl.coef)
            for group, own, ref_logp, score in zip(groups, values, ref_logps, scores, strict=True)
        ]
        moments = merged(summary.advantages for summary, _ in found)
        trees = [
            rollout_tree(group, [(a - moments.mean) / moments.std for a in known.advantages])
            for group, (_, known) in zip(groups, found, strict=True)
        ]
        valued = [
            value_tree(group, known.returns, known.values)
            for group, (_, known) in zip(groups, found, strict=True)
        ]
        meters = self.policy.train_step(share(trees), EntropyBonus(PPO, 12))
        fitted = self.critic.train_step(share(valued), ValueRegression(VALUE_LOSS))
        return meters.merge(fitted.renamed(METRIC_NAMES))

    def values(self, number: int) -> list[tuple[Floats, ...]]:
        """What the critic makes of another batch."""
        groups, _, _ = _batch(number)
        return self.critic.scorer.values([rollout_tree(group) for group in groups])


def ppo_model(models: Path, *, lora: bool) -> ModelConfig:
    """The tiny model of the strategies' tests."""
    settings = {"path": str(models / "tied")} | ({"lora": {"rank": 4}} if lora else {})
    return ModelConfig.model_validate(settings)


def _on_base(policy: PolicyModel) -> PackedModel:
    assert policy.config.lora is not None
    return critic_on(policy, policy.config.lora, checkpoint=None)


def _batch(
    seed: int,
) -> tuple[list[RolloutGroup], list[list[Floats]], list[Sequence[float]]]:
    """Groups, and per response the reference's log-probabilities and a score."""
    rng = np.random.default_rng(seed)

    def response(size: int) -> Response:
        ids = rng.integers(3, VOCABULARY, size).astype(np.int32)
        ends = "stop" if rng.random() < 0.5 else "length"
        return Response(ids, rng.normal(-5.5, 0.3, size).astype(np.float32), "", ends)

    groups, ref_logps, scores = [], [], []
    for number, (prompt, lengths) in enumerate(SHAPES):
        ids = rng.integers(3, VOCABULARY, prompt).astype(np.int32)
        responses = tuple(response(size) for size in lengths)
        groups.append(RolloutGroup(Prompt(Record(str(number), ()), ids), responses, 0))
        ref_logps.append([rng.normal(-5.5, 0.3, size).astype(np.float32) for size in lengths])
        scores.append(rng.normal(0, 1, len(lengths)).tolist())
    return groups, ref_logps, scores
