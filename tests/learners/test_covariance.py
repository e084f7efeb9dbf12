"""Clip-Cov and KL-Cov: which tokens they pick, and whole steps against loops over the model's log-probabilities."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medray.config.algorithms.registry import checked_algorithm
from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig
from medray.learners.covariance import PICKED, StepTokens, picks
from medray.learners.learner import Learner
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.models.load import load_policy
from medray.types import Continuation, PromptTree, StepTotals
from tests.golden import reference
from tests.support.trees import random_tree

SHAPE = [(11, [3, 7, 12, 1]), (20, [5, 5, 5, 5])]
N = 43


def _tokens(clipped: tuple[bool, ...] = (False,) * 4) -> StepTokens:
    """Means -2 and 0: covariances 1; 0; 2; -1."""
    logp, advantage = np.array([-1.0, -2, -4, -1]), np.array([1.0, 1, -1, -1])
    return StepTokens(logp, advantage, np.array(clipped), np.arange(4, dtype=np.uint64))


def _part(tokens: StepTokens, where: slice) -> StepTokens:
    return StepTokens(
        tokens.logp[where], tokens.advantage[where], tokens.is_clipped[where], tokens.key[where]
    )


def test_golden_picks() -> None:
    tokens = _tokens()
    assert picks([tokens], "kl_cov", share=0.5).tolist() == [True, False, True, False]
    assert picks([tokens], "kl_cov").tolist() == [False, False, True, False], "at least one"
    bounds = {"low": 0.5, "high": 1.5, "share": 1.0}
    assert picks([tokens], "clip_cov", **bounds).tolist() == [True, False, False, False]
    clipped = _tokens((True, False, False, False))
    assert not picks([clipped], "clip_cov", **bounds).any(), "the clip has stopped it already"
    assert not picks([_part(tokens, slice(0, 0))], "kl_cov").any()


def test_picks_are_those_of_the_whole_step_however_ranks_share_it() -> None:
    tokens = _tokens()
    for end in range(5):
        ranks = [_part(tokens, slice(0, end)), _part(tokens, slice(end, 4))]
        for kind, keys in (("kl_cov", {"share": 0.5}), ("clip_cov", {"low": -9, "share": 0.5})):
            assert picks(ranks, kind, **keys).tolist() == picks([tokens], kind, **keys).tolist()


def test_clip_cov_draws_evenly_among_its_candidates() -> None:
    rng = np.random.default_rng(0)
    advantage = rng.normal(size=4000)
    tokens = StepTokens(
        rng.normal(-2, 1, 4000), advantage, np.zeros(4000, np.bool_), rng.integers(0, 2**63, 4000).astype(np.uint64),
    )  # fmt: skip
    drawn = picks([tokens], "clip_cov", share=0.05, low=0.1, high=1.0)
    assert drawn.sum() == 200
    covariance = np.array(reference.covariances(tokens.logp.tolist(), advantage.tolist()))
    assert ((covariance[drawn] > 0.1) & (covariance[drawn] < 1.0)).all()
    candidates = covariance[(covariance > 0.1) & (covariance < 1.0)]
    assert covariance[drawn].mean() == pytest.approx(candidates.mean(), abs=0.06)


def _batch(learner: Learner) -> list[PromptTree]:
    rng = np.random.default_rng(1)
    trees = [random_tree(rng, prompt, lengths, reference=True) for prompt, lengths in SHAPE]

    def near(continuation: Continuation, logp: np.ndarray) -> Continuation:
        columns = {
            "advantage": continuation.columns["advantage"],
            "behaviour_logp": (logp + rng.normal(0, 0.2, len(logp))).astype(np.float32),
        }
        return Continuation(continuation.token_ids, continuation.trained, columns)

    return [
        PromptTree(tree.prompt_ids, tuple(map(near, tree.continuations, scored)))
        for tree, scored in zip(trees, learner.scorer.logprobs(trees), strict=True)
    ]


@pytest.mark.parametrize("kind", ["clip_cov", "kl_cov"])
def test_a_step_is_the_papers(tiny_model: Path, kind: str) -> None:
    options = {"share": 0.1} | (
        {"low": 0.001, "high": 9.0} if kind == "clip_cov" else {"coef": 2.0}
    )
    config = checked_algorithm({"kind": "grpo", "loss": {"kind": kind, "options": options}})
    learner = Learner(
        load_policy(ModelConfig(path=str(tiny_model)), seed=0), OptimConfig(), num_optim_steps=1,
        config=LearnerConfig(row_tokens=64, head_chunk=16),
    )  # fmt: skip
    trees = _batch(learner)
    own, objective = learner.prepare(trees, PolicyGradient(config, 12))
    found = learner.forward_backward(own, objective, StepTotals(N, 8, 2)).values()

    flat: dict[str, list[Any]] = {"logp": [], "behaviour": [], "advantage": [], "picked": []}
    for tree, scored in zip(own, learner.scorer.logprobs(trees), strict=True):
        for c, logp in zip(tree.continuations, scored, strict=True):
            flat["logp"] += logp.tolist()
            flat["behaviour"] += c.columns["behaviour_logp"][c.trained].tolist()
            flat["advantage"] += c.columns["advantage"][c.trained].tolist()
            flat["picked"] += (c.columns[PICKED][c.trained] > 0.5).tolist()
    covariance = reference.covariances(flat["logp"], flat["advantage"])
    ratios = [math.exp(n - o) for n, o in zip(flat["logp"], flat["behaviour"], strict=True)]
    chosen = [i for i, picked in enumerate(flat["picked"]) if picked]
    assert len(chosen) == 4, "a tenth of 43 tokens"
    if kind == "kl_cov":
        assert set(chosen) == set(np.argsort(covariance)[-4:].tolist())
    else:
        assert all(0.001 < covariance[i] < 9 for i in chosen)
        stopped = [
            r > 1.2 if a > 0 else r < 0.8 for r, a in zip(ratios, flat["advantage"], strict=True)
        ]
        assert not any(stopped[i] for i in chosen)
    losses = []
    for i, (ratio, adv) in enumerate(zip(ratios, flat["advantage"], strict=True)):
        if kind == "kl_cov":
            penalty = 2.0 * abs(math.log(ratio)) if i in chosen else 0.0
            losses.append(-ratio * adv + penalty)
        else:
            token = reference.ppo_token(math.log(ratio), 0.0, adv, 0.2, 0.2, dual=3)
            losses.append(0.0 if i in chosen else token)
    assert found["loss/total"] == pytest.approx(sum(losses) / N, rel=1e-4, abs=1e-6)
