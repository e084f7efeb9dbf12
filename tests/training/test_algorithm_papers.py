"""Every algorithm on a random batch against slow float64 loops written from its paper: loss and gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from medray.config.algorithms.registry import ALGORITHMS, checked_algorithm
from medray.learners.objectives.base import RowTensors
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.training.advantages import advantages_of
from medray.types import GroupMeta, GroupScore, Prompt, Record, StepTotals
from tests.golden import reference
from tests.support.groups import scored

LIMIT = 8
LENGTHS = [[3, 8, 1], [5, 2, 4], [7, 6, 8]]
COUNTS = [n for group in LENGTHS for n in group]
Losses = Callable[[Sequence[float], Sequence[float], float, Sequence[float]], list[float]]
"""(logp [T], behaviour_logp [T], advantage, logp as a constant [T]) of a response -> loss of each token."""


def _tokens(loss: Callable[[float, float, float, float], float]) -> Losses:
    return lambda new, old, adv, held: [
        loss(n, o, adv, h) for n, o, h in zip(new, old, held, strict=True)
    ]


def _clip(low: float = 0.2, high: float = 0.2) -> Losses:
    return _tokens(lambda n, o, a, _: reference.ppo_token(n, o, a, low, high, dual=3))


def _responses(loss: Callable[..., float], *bounds: float) -> Losses:
    return lambda new, old, adv, held: [loss(new, old, adv, *bounds)] * len(new)


Matrix = list[list[float]]
PAPERS: dict[str, tuple[Callable[[Matrix, Matrix], Matrix], Losses, str]] = {
    "grpo": (lambda r, _: reference.group_advantages(r, "none"), _clip(), "token"),
    "dr_grpo": (lambda r, _: reference.group_advantages(r, "none"), _clip(), "fixed"),
    "rloo": (lambda r, _: reference.rloo(r), _clip(), "fixed"),
    "reinforce_pp": (
        lambda r, _: reference.reinforce_pp(r, LENGTHS, baseline=False),
        _clip(),
        "token",
    ),
    "reinforce_pp_baseline": (
        lambda r, _: reference.reinforce_pp(r, LENGTHS, baseline=True),
        _clip(),
        "token",
    ),
    "remax": (
        lambda r, greedy: [[x - b for x in group] for group, [b] in zip(r, greedy, strict=True)],
        _clip(),
        "fixed",
    ),
    "opo": (lambda r, _: reference.opo(r, LENGTHS), _clip(), "token"),
    "pass_at_k": (lambda r, _: reference.pass_at_k(r, 2, 0.5), _clip(), "token"),
    "gdpo": (lambda r, _: reference.gdpo([(1.0, r)], LENGTHS), _clip(), "token"),
    "dapo": (
        lambda r, _: reference.group_advantages(_less_length(r), "std"),
        _clip(0.2, 0.28),
        "token",
    ),
    "gspo": (
        lambda r, _: reference.group_advantages(r, "std"),
        _responses(reference.gspo_sequence, 3e-4, 4e-4),
        "sequence",
    ),
    "gmpo": (
        lambda r, _: reference.group_advantages(r, "std"),
        _responses(reference.gmpo_sequence, 0.4, 0.4),
        "sequence",
    ),
    "cispo": (
        lambda r, _: reference.group_advantages(r, "std"),
        _tokens(lambda n, o, a, held: -min(math.exp(held - o), 5) * a * n),
        "token",
    ),
    "sapo": (
        lambda r, _: reference.group_advantages(r, "std"),
        _tokens(lambda n, o, a, _: reference.sapo_token(n, o, a, 1.0, 1.05)),
        "sequence",
    ),
    "dppo": (
        lambda r, _: reference.group_advantages(r, "none"),
        _tokens(lambda n, o, a, held: reference.dppo_token(n, o, a, held, 0.15)),
        "fixed",
    ),
    "dppo_kl": (
        lambda r, _: reference.group_advantages(r, "none"),
        _tokens(lambda n, o, a, held: reference.dppo_token(n, o, a, held, 0.05, kl=True)),
        "fixed",
    ),
}
OTHERS = {
    "pass_at_k": {"kind": "pass_at_k", "k": 2},
    "dppo_kl": {"kind": "dppo", "loss": "dppo_kl", "clip_low": 0.05, "clip_high": 0.05},
}


def _less_length(rewards: Matrix) -> Matrix:
    """Equation 13 of arXiv:2503.14476, with a fifth of the limit, rounded, as buffer."""
    buffer = max(1, round(0.2 * LIMIT))
    penalty = lambda n: min(0.0, max(-1.0, (LIMIT - buffer - n) / buffer))  # noqa: E731
    return [
        [r + penalty(n) for r, n in zip(group, sizes, strict=True)]
        for group, sizes in zip(rewards, LENGTHS, strict=True)
    ]


def test_every_algorithm_has_a_row() -> None:
    assert PAPERS.keys() - {"dppo_kl"} == ALGORITHMS.keys() - {
        "distill"
    }  # tests/losses/test_distill.py


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", PAPERS)
def test_loss_and_gradient_are_the_papers(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rewards = [[float(x) for x in rng.normal(size=len(group))] for group in LENGTHS]
    greedy = [float(x) for x in rng.normal(size=len(LENGTHS))]
    new = rng.uniform(-2, -0.05, sum(COUNTS))
    old = np.minimum(new + rng.normal(0, 0.6, sum(COUNTS)), -0.01)
    advantage, losses, how = PAPERS[name]
    expected_advantages = advantage(rewards, [[g] for g in greedy])
    flat = [a for group in expected_advantages for a in group]

    def slow(logps: list[float]) -> float:
        per_sequence, at = [], 0
        for size, adv in zip(COUNTS, flat, strict=True):
            part = slice(at, at + size)
            per_sequence.append(losses(logps[part], old[part].tolist(), adv, new[part].tolist()))
            at += size
        return reference.aggregate(per_sequence, how, sum(COUNTS), len(COUNTS), LIMIT)

    loss, gradient = _medray(name, rewards, greedy, new, old)
    assert loss == pytest.approx(slow(new.tolist()), rel=1e-5, abs=1e-7)
    expected = reference.numeric_gradient(slow, new.tolist(), step=1e-7)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def _medray(
    name: str, rewards: Matrix, greedy: list[float], new: np.ndarray, old: np.ndarray
) -> tuple[float, list[float]]:
    config = checked_algorithm(OTHERS.get(name, {"kind": name}))
    groups = []
    for i, (group, sizes) in enumerate(zip(rewards, LENGTHS, strict=True)):
        prompt = Prompt(Record(str(i), ()), np.arange(4, dtype=np.int32))
        meta = GroupMeta(str(i), 4, tuple(sizes), 0, 0, "")
        groups.append(scored(prompt, meta, GroupScore(tuple(group)), str(i)))
    found: list[Any] = advantages_of(groups, config, LIMIT, greedy).values
    index = torch.repeat_interleave(torch.arange(len(COUNTS)), torch.tensor(COUNTS))
    advantage = torch.tensor(np.concatenate(found), dtype=torch.float64)[index]
    columns = {"behaviour_logp": torch.tensor(old), "advantage": advantage}
    row = RowTensors(index, torch.tensor(COUNTS), columns)
    logp = torch.tensor(new, requires_grad=True)
    totals = StepTotals(sum(COUNTS), len(COUNTS), len(LENGTHS))
    loss, _ = PolicyGradient(config, LIMIT)(logp, row, totals)
    loss.backward()
    assert logp.grad is not None
    return float(loss.detach()), logp.grad.tolist()
