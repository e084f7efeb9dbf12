"""Bounds, masks and weights against stale samples and against the engine's rounding, on the sheet of paper.

The batch is that of `test_algorithm_goldens.py`: ratios 3/2; 1, 1/2; 1, 5/4; 2, every logp -1, and advantages +-1/2
and +-1 in GRPO, or +-c where the group's deviation divides.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.support.sheet import C, check, run


def test_dual_clip() -> None:
    """Of the tokens with A < 0 only b1, of ratio 2, is beyond 3/2: its loss is 3/2 instead of 2, without gradient."""
    got = run({"kind": "grpo", "clip_dual": 1.5})
    check(got, 0.1 - 2 + 1.5, [0, 0.5, 0, -1, 0, 0], over=6)
    assert got[2]["policy/clip_share"] == pytest.approx(4 / 6)


def test_dual_clip_at_three_is_far_from_this_batch() -> None:
    assert run({"kind": "grpo", "clip_dual": 3.0})[:2] == run({"kind": "grpo"})[:2]


@pytest.mark.parametrize(
    ("estimator", "value", "slope"),
    [("k3", 1 / math.e, 1.0), ("k1", 1.0, 2.0), ("k2", 0.5, 1.0)],
)
def test_unbiased_kl(estimator: str, value: float, slope: float) -> None:
    """The reference is one nat below everywhere: k3 = 1/e, k1 = 1, k2 = 1/2, each times its token's ratio.

    With d = 1 the gradients are rho d for k3 and k2, and rho (d + 1) for k1; the ratios add up to 7.25.
    """
    ratios = [1.5, 1, 0.5, 1, 1.25, 2]
    plain = run({"kind": "grpo"})
    kl = {"coef": 0.2, "estimator": estimator, "unbiased": True}
    got = run({"kind": "grpo", "kl": kl}, ref=-2.0)
    assert got[0] - plain[0] == pytest.approx(0.2 * 7.25 * value / 6)
    added = [g - p for g, p in zip(got[1], plain[1], strict=True)]
    assert added == pytest.approx([0.2 * slope * r / 6 for r in ratios])
    assert got[2]["policy/kl_ref"] == pytest.approx(value), "reported without the weight"


@pytest.mark.parametrize(
    ("correction", "weights", "dropped"),
    [
        ({"kind": "sequence_tis", "high": 1.4}, [1.4, 0.5, 0.5, 1.25, 1.25, 1.4], 0),
        ({"kind": "sequence_mis", "low": 0.6, "high": 1.6}, [1.5, 0, 0, 1.25, 1.25, 0], 3),
        (
            [{"kind": "tis", "high": 1.2}, {"kind": "sequence_mask", "low": 0.8, "high": 1.2}],
            [0, 0, 0, 1, 1.2, 0],
            4,
        ),
    ],
)
def test_corrections(correction: Any, weights: list[float], dropped: int) -> None:
    """Products of the mismatch over the responses: 3/2, 1/2, 5/4, 2. In the only step the loss is -w A a token."""
    advantage = [0.5, -0.5, -0.5, 1, 1, -1]
    terms = [-w * a for w, a in zip(weights, advantage, strict=True)]
    got = run({"kind": "grpo", "correction": correction})
    check(got, sum(terms), terms, over=6)
    assert got[2]["policy/correction_weight"] == pytest.approx(sum(weights) / 6)
    assert got[2]["policy/correction_dropped"] == pytest.approx(dropped / 6)


def test_off_policy_sequence_mask() -> None:
    """Responses with A < 0: a1 has become less likely by ln(2) / 2 = 0.35 nats a token, b1 more likely.

    Beyond 0.3 a1 falls out with its losses 1/2 and 2/5; the denominator stays.
    """
    got = run({"kind": "grpo", "off_policy_mask": 0.3})
    check(got, 0.1 - 0.9, [0, 0, 0, -1, 0, 2], over=6)
    assert got[2]["policy/off_policy_masked"] == pytest.approx(2 / 6)
    assert run({"kind": "grpo", "off_policy_mask": 0.4})[:2] == run({"kind": "grpo"})[:2]


def test_gmpo() -> None:
    """Log ratios bounded at +-ln 1.2 where A pushes further: ln 1.2; 0, -ln 1.2; 0, ln 1.2; ln 2 (pushed back).

    Ratios 1.2; 1 / sqrt(1.2); sqrt(1.2); 2 and A = +-c. A token that is not clipped moves its response's ratio by
    ratio / length.
    """
    root, bound = math.sqrt(1.2), math.log(1.2)
    got = run({"kind": "gmpo", "clip_low": bound, "clip_high": bound})
    grad = [0, C / root / 2, 0, -C * root / 2, 0, 2 * C]
    check(got, (-1.2 + 1 / root - root + 2) * C, grad, over=4)
    assert got[2]["policy/clip_share"] == 0.5


def test_sapo() -> None:
    """With tau = 2 the gate is 2 sigma(2 rho - 2): 1.4621172; 1, 0.5378828; 1, 1.2449187; 1.7615942.

    Its slope is 4 sigma (1 - sigma) rho: 1.1796716; 1, 0.3932239; 1, 1.1750186; 0.8399487. Means over responses, of
    advantages 1/2; -1/2; 1; -1.
    """
    loss = {"kind": "sapo", "options": {"tau_pos": 2, "tau_neg": 2}}
    got = run({"kind": "sapo", "advantage_scale": "none", "loss": loss})
    total = -1.4621172 / 2 + (1 + 0.5378828) / 4 - (1 + 1.2449187) / 2 + 1.7615942
    grad = [-1.1796716 / 2, 1 / 4, 0.3932239 / 4, -1 / 2, -1.1750186 / 2, 0.8399487]
    check(got, total, grad, over=4)


def test_dppo() -> None:
    """Probabilities 1/e moved from 1 / (e rho) by 0.123; 0, -0.368; 0, 0.074; 0.184.

    Beyond 0.1 in the direction of A are a0 and the second of a1; b1 moved against it. Loss -rho A logp = rho A, its
    gradient -rho A: 0; 1/2, 0; -1, -5/4; 2, over 4 responses of at most 4 tokens.
    """
    got = run({"kind": "dppo", "clip_low": 0.1, "clip_high": 0.1})
    check(got, -0.25, [0, 0.5, 0, -1, -1.25, 2], over=16)
    assert got[2]["policy/clip_share"] == pytest.approx(2 / 6)


def test_dppo_by_kl() -> None:
    """Binary KL of the samplers' 0.245; 0.736; 0.294 from 0.368: 0.034; 0.280; 0.012. Only a1's is beyond 0.05."""
    got = run({"kind": "dppo", "loss": "dppo_kl", "clip_low": 0.05, "clip_high": 0.05})
    check(got, 0.5, [-0.75, 0.5, 0, -1, -1.25, 2], over=16)


def test_clip_cov() -> None:
    """Without a1's first token and b1 the losses of GRPO are -3/5; 2/5 (clipped); -1, -6/5 (clipped): -12/5."""
    got = run({"kind": "grpo", "loss": "clip_cov"}, picked=[0, 1, 0, 0, 0, 1])
    check(got, -2.4, [0, 0, 0, -1, 0, 0], over=6)
    assert got[2]["policy/clip_share"] == pytest.approx(5 / 6)


def test_kl_cov() -> None:
    """-rho A: -3/4; 1/2, 1/4; -1, -5/4; 2, and half of |log rho| at a1's second token (ln 2) and at b1 (ln 2)."""
    loss = {"kind": "kl_cov", "options": {"coef": 0.5}}
    got = run({"kind": "grpo", "loss": loss}, picked=[0, 0, 1, 0, 0, 1])
    check(got, -0.25 + math.log(2), [-0.75, 0.5, 0.25 - 0.5, -1, -1.25, 2 + 0.5], over=6)
    assert got[2]["policy/clip_share"] == pytest.approx(2 / 6)
