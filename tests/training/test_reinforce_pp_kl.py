"""REINFORCE++'s KL in the reward, token by token: from log-probabilities to advantages, against float64 loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medray.actors.groups import GroupHandle
from medray.config.algorithms.registry import checked_algorithm
from medray.learners.reference import less_kl_to_go, response_kls
from medray.training.advantages import Advantages, advantages_of
from medray.training.batch import Batch, minibatches
from medray.types import GroupMeta, GroupScore, Prompt, Record, Response, RolloutGroup
from tests.golden import reference
from tests.support.groups import scored

LENGTHS = [(3, 6), (1, 4), (5, 2)]
COEF = 0.3


class Sampled:
    """Groups with scores, and log-probabilities of their tokens under the sampler and the reference."""

    def __init__(self, seed: int, estimator: str, cut: tuple[int, int] | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.estimator = estimator
        self.rewards = rng.normal(size=(3, 2))
        self.groups: list[GroupHandle] = []
        self.tokens: list[tuple[RolloutGroup, list[np.ndarray]]] = []
        for p, lengths in enumerate(LENGTHS):
            logps = [rng.uniform(-3, -0.1, n).astype(np.float32) for n in lengths]
            refs = [rng.uniform(-3, -0.1, n).astype(np.float32) for n in lengths]
            prompt = Prompt(Record(str(p), ()), np.zeros(2, dtype=np.int32))
            responses = tuple(Response(np.zeros(len(x), np.int32), x, "", "stop") for x in logps)
            group = RolloutGroup(prompt, responses, 0)
            truncated = tuple((p, g) == cut for g in range(2))
            meta = GroupMeta(str(p), 2, lengths, 0, 0, "", truncated=truncated)
            handle = scored(prompt, meta, GroupScore(tuple(self.rewards[p].tolist())), str(p))
            handle.reference_kl = response_kls(group, refs, estimator)
            self.groups.append(handle)
            self.tokens.append((group, refs))

    def returns(self) -> list[list[list[float]]]:
        """What each token earns from itself on, [P][G][T]."""
        out: list[list[list[float]]] = []
        for rewards, (group, refs) in zip(self.rewards.tolist(), self.tokens, strict=True):
            out.append([])
            for reward, response, ref in zip(rewards, group.responses, refs, strict=True):
                pairs = zip(response.logp.tolist(), ref.tolist(), strict=True)
                kl = [reference.kl_estimator(b, r, self.estimator) for b, r in pairs]
                out[-1].append([reward - COEF * sum(kl[t:]) for t in range(len(kl))])
        return out

    def by_token(self, found: Advantages) -> list[list[np.ndarray]]:
        """What a rank of the learner trains on."""
        pairs = zip(found.values, self.tokens, strict=True)
        return [
            less_kl_to_go(own, group, refs, self.estimator, found.kl_slope)
            for own, (group, refs) in pairs
        ]


def _config(estimator: str, **keys: Any) -> Any:
    kl = {"coef": COEF, "estimator": estimator}
    return checked_algorithm({"kind": "reinforce_pp", "kl": kl, **keys})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_tokens_answer_for_the_kl_that_follows(estimator: str, seed: int) -> None:
    sampled = Sampled(seed, estimator)
    found = sampled.by_token(advantages_of(sampled.groups, _config(estimator), 8))
    returns = sampled.returns()
    flat = [t for group in returns for response in group for t in response]
    [expected] = reference.whitened([flat], [[1] * len(flat)])
    got = np.concatenate([response for group in found for response in group])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("aggregation", ["token", "fixed", "sequence"])
def test_the_loss_sees_advantages_of_mean_zero(aggregation: str) -> None:
    """Also where a truncated response is not trained on: it counts in no statistic of the batch."""
    sampled = Sampled(0, "k1", cut=(0, 1))
    config = _config("k1", aggregation=aggregation, mask_truncated=True)
    found = sampled.by_token(advantages_of(sampled.groups, config, 8))
    kept = [a for p, group in enumerate(found) for g, a in enumerate(group) if (p, g) != (0, 1)]
    means = [a.mean() for a in kept] if aggregation == "sequence" else np.concatenate(kept)
    assert np.mean(means) == pytest.approx(0, abs=1e-6)
    squares = [(a**2).mean() for a in kept]
    if aggregation != "sequence":
        squares = [(np.concatenate(kept) ** 2).mean()]
    size = len(kept) if aggregation == "sequence" else len(np.concatenate(kept))
    assert np.mean(squares) * size / (size - 1) == pytest.approx(1, abs=1e-4)


def test_a_group_whose_rewards_tie_still_has_the_gradient_of_its_kl() -> None:
    sampled = Sampled(0, "k1")
    for group in sampled.groups:
        group.on_scored(GroupScore((1.0, 1.0)))
    config = _config("k1")
    found = advantages_of(sampled.groups, config, 8)
    batch = Batch(tuple(sampled.groups), tuple(found.values), kl_slope=found.kl_slope)
    [part] = minibatches(batch, config, lambda groups: groups)
    assert [item.kl_slope for item in part.items] == [found.kl_slope] * 3


def test_without_a_penalty_nothing_follows() -> None:
    sampled = Sampled(0, "k1")
    plain = checked_algorithm({"kind": "reinforce_pp"})
    found = advantages_of(sampled.groups, plain, 8)
    assert found.kl_slope == 0
    flat = reference.whitened(sampled.rewards.tolist(), LENGTHS)
    np.testing.assert_allclose(np.concatenate(found.values), np.concatenate(flat), rtol=1e-5)
