"""PPO's preset on a random batch against slow float64 loops written from its papers: both losses, both gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medray.config.critic import ValueLossConfig
from medray.config.ppo import PpoConfig
from medray.learners.estimates import Estimates, EstimateSummary, estimate
from medray.learners.objectives.base import RowTensors
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.learners.objectives.value import ValueRegression
from medray.losses.moments import merged
from medray.training.ppo_batch import EPS
from medray.types import Floats, Prompt, Record, Response, RolloutGroup, StepTotals
from tests.golden import reference

LENGTHS = [3, 7, 1, 5]
N = sum(LENGTHS)
INDEX = torch.repeat_interleave(torch.arange(4), torch.tensor(LENGTHS))
PRESETS = {
    "ppo": {},
    "vapo": {"value_lam": 1.0, "lam_alpha": 0.5, "kl": {"coef": 0.0}},
    "shaped": {"gamma": 0.9, "lam": 0.5, "whiten": False, "kl": {"estimator": "k3", "coef": 0.2}},
}


class Sheet:
    """Four responses with scores, and behaviour, reference and present log-probabilities and values of each token."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.scores = rng.normal(size=4)
        self.behaviour, self.ref = (rng.uniform(-3, -0.1, N).astype(np.float32) for _ in range(2))
        self.old_value = rng.normal(size=N).astype(np.float32)
        self.logp = self.behaviour + rng.normal(0, 0.8, N)
        self.value = self.old_value + rng.normal(0, 0.3, N)

    def parts(self, values: np.ndarray) -> list[Floats]:
        return np.split(values, np.cumsum(LENGTHS)[:-1])

    def estimates(self, config: PpoConfig) -> tuple[EstimateSummary, Estimates]:
        """What a rank of the critic computes, the responses being one group."""
        responses = tuple(
            Response(np.zeros(len(own), dtype=np.int32), own, "", "stop")
            for own in self.parts(self.behaviour)
        )
        prompt = Prompt(Record("p", ()), np.zeros(2, dtype=np.int32))
        group = RolloutGroup(prompt, responses, 0)
        old, ref = self.parts(self.old_value), self.parts(self.ref)
        return estimate(group, old, ref, self.scores.tolist(), config, config.kl.coef)

    def slow(self, config: PpoConfig) -> tuple[list[float], list[float]]:
        """Advantages, whitened where asked, and returns, by the equations."""
        rewards = [
            -config.kl.coef * reference.kl_estimator(b, r, str(config.kl.estimator))
            for b, r in zip(self.behaviour.tolist(), self.ref.tolist(), strict=True)
        ]
        for end, score in zip(np.cumsum(LENGTHS) - 1, self.scores.tolist(), strict=True):
            rewards[end] += score
        values = self.old_value.tolist()
        advantages: list[float] = []
        for part, size in zip(np.cumsum(LENGTHS) - LENGTHS, LENGTHS, strict=True):
            alpha = config.lam_alpha
            lam = config.lam if alpha is None else max(0.0, 1 - 1 / (alpha * size))
            own = slice(part, part + size)
            advantages += reference.gae(rewards[own], values[own], [size], config.gamma, lam)
        own_lam = config.lam if config.value_lam is None else config.value_lam
        targets = advantages
        if config.value_lam is not None:
            targets = reference.gae(rewards, values, LENGTHS, config.gamma, own_lam)
        returns = [a + v for a, v in zip(targets, values, strict=True)]
        if config.whiten:
            mean = sum(advantages) / N
            std = math.sqrt(sum((a - mean) ** 2 for a in advantages) / (N - 1))
            advantages = [(a - mean) / (std + EPS) for a in advantages]
        return advantages, returns


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("preset", PRESETS)
def test_the_policys_loss_and_gradient_are_the_papers(preset: str, seed: int) -> None:
    sheet, config = Sheet(seed), PpoConfig.model_validate(PRESETS[preset])
    expected, _ = sheet.slow(config)

    def slow(logps: list[float]) -> float:
        tokens = zip(logps, sheet.behaviour.tolist(), expected, strict=True)
        return sum(reference.ppo_token(n, o, a, 0.2, 0.2, dual=3) for n, o, a in tokens) / N

    summary, found = sheet.estimates(config)
    moments = merged([summary.advantages])
    mean, std = (moments.mean, moments.std + EPS) if config.whiten else (0.0, 1.0)
    advantage = torch.tensor((np.concatenate(found.advantages) - mean) / std, dtype=torch.float64)
    columns = {"behaviour_logp": torch.tensor(sheet.behaviour).double(), "advantage": advantage}
    logp = torch.tensor(sheet.logp, requires_grad=True)
    objective = PolicyGradient(config, 8)
    loss, _ = objective(
        logp, RowTensors(INDEX, torch.tensor(LENGTHS), columns), StepTotals(N, 4, 4)
    )
    loss.backward()
    assert float(loss.detach()) == pytest.approx(slow(sheet.logp.tolist()), rel=1e-5, abs=1e-6)
    assert logp.grad is not None
    numeric = reference.numeric_gradient(slow, sheet.logp.tolist(), step=1e-7)
    np.testing.assert_allclose(logp.grad.numpy(), numeric, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("preset", PRESETS)
def test_the_critics_loss_and_gradient_are_the_papers(preset: str, seed: int) -> None:
    sheet, config = Sheet(seed), PpoConfig.model_validate(PRESETS[preset])
    _, targets = sheet.slow(config)

    def slow(values: list[float]) -> float:
        tokens = zip(values, sheet.old_value.tolist(), targets, strict=True)
        return sum(reference.clipped_value(v, old, r, 0.2) for v, old, r in tokens) / N

    _, found = sheet.estimates(config)
    columns = {
        "return": torch.tensor(np.concatenate(found.returns)),
        "old_value": torch.tensor(sheet.old_value),
    }
    values = torch.tensor(sheet.value, requires_grad=True)
    row = RowTensors(INDEX, torch.tensor(LENGTHS), columns)
    loss, _ = ValueRegression(ValueLossConfig())(values, row, StepTotals(N, 4, 4))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(slow(sheet.value.tolist()), rel=1e-5, abs=1e-6)
    assert values.grad is not None
    numeric = reference.numeric_gradient(slow, sheet.value.tolist(), step=1e-7)
    np.testing.assert_allclose(values.grad.numpy(), numeric, rtol=1e-4, atol=1e-5)


def test_value_pretraining_fits_the_sampled_return() -> None:
    """With a lambda of 1 for the critic and no discount every token's target is what its response earned, whatever
    the critic said: Monte Carlo, arXiv:2503.01491."""
    sheet = Sheet(0)
    config = PpoConfig.model_validate({"value_lam": 1.0, "kl": {"coef": 0.0}})
    _, found = sheet.estimates(config)
    for returns, score in zip(found.returns, sheet.scores, strict=True):
        np.testing.assert_allclose(returns, score, rtol=1e-5)


def test_what_is_not_trained_on_is_not_in_the_whitening() -> None:
    sheet, config = Sheet(0), PpoConfig(mask_truncated=True)
    summary, found = sheet.estimates(config)
    assert summary.advantages.count == N, "all ended by themselves"
    responses = tuple(
        Response(np.zeros(len(own), dtype=np.int32), own, "", "length" if i == 1 else "stop")
        for i, own in enumerate(sheet.parts(sheet.behaviour))
    )
    group = RolloutGroup(Prompt(Record("p", ()), np.zeros(2, dtype=np.int32)), responses, 0)
    old, ref = sheet.parts(sheet.old_value), sheet.parts(sheet.ref)
    cut, same = estimate(group, old, ref, sheet.scores.tolist(), config, config.kl.coef)
    trained = np.concatenate([same.advantages[i] for i in (0, 2, 3)])
    assert cut.advantages.count == N - LENGTHS[1]
    assert cut.advantages.mean == pytest.approx(trained.mean(), abs=1e-6)
    np.testing.assert_array_equal(same.advantages[1], found.advantages[1])
