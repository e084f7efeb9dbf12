"""Losses on both gains of a pair, and margins of f-divergences: by hand, and against the papers' equations."""

from __future__ import annotations

import math

import pytest
import torch
from golden import reference
from golden.compare import assert_gradient, assert_same, light, vector, weights
from hypothesis import given
from hypothesis import strategies as st

from medray.losses import pairwise
from medray.losses.preference import dpo_loss

LN3 = math.log(3)  # sigma(ln 3) = 3/4
gains = st.lists(st.tuples(st.floats(-4, 4), st.floats(-4, 4)), min_size=1, max_size=5)
LOSSES = {
    "exo": lambda w, x, beta: pairwise.exo_loss(w - x, beta, 1e-3),
    "nca": pairwise.nca_loss,
    "sppo": pairwise.sppo_loss,
    "apo-zero": pairwise.apo_zero_loss,
    "apo-down": pairwise.apo_down_loss,
    "discopop": lambda w, x, beta: pairwise.discopop_loss(w - x, beta),
}


def check(loss_of, inputs, value, gradients) -> None:
    leaves = [vector([x], grad=True) for x in inputs]
    loss = loss_of(*leaves)
    slopes = [g.item() for g in torch.autograd.grad(loss.sum(), leaves)]
    assert loss.item() == pytest.approx(value, abs=1e-12)
    assert slopes == pytest.approx(gradients, abs=1e-12)


def test_golden_exo() -> None:
    """m = ln 3, e = 1/4: (3/4, 1/4) is the smoothed label itself, so both the loss and its gradient are 0."""
    check(lambda m: pairwise.exo_loss(m, 1.0, 0.25), [LN3], 0.0, [0.0])


def test_golden_nca() -> None:
    """g_w = ln 3, g_l = 0: ln 4/3 + ln(4) / 2 + ln(2) / 2; gradients -1/4 + 3/8 and 1/4."""
    value = math.log(4 / 3) + math.log(8) / 2
    check(lambda w, x: pairwise.nca_loss(w, x, 1.0), [LN3, 0.0], value, [0.125, 0.25])


def test_golden_sppo() -> None:
    """beta = 1/2 aims at 1 and -1: from 3 and 0 (3 - 1)^2 + 1^2; gradients 4 and 2."""
    check(lambda w, x: pairwise.sppo_loss(w, x, 0.5), [3.0, 0.0], 5.0, [4.0, 2.0])


def test_golden_apo() -> None:
    """Both ln 3: zero gives 1/4 + 3/4, gradients -3/16 and 3/16; down 3/4 + 1/2, 3/16 - 1/4 and 1/4."""
    check(lambda w, x: pairwise.apo_zero_loss(w, x, 1.0), [LN3, LN3], 1.0, [-3 / 16, 3 / 16])
    check(lambda w, x: pairwise.apo_down_loss(w, x, 1.0), [LN3, LN3], 1.25, [-1 / 16, 1 / 4])


def test_golden_discopop() -> None:
    """m = 0: half of ln 2 and half of 1. With tau = 1/4 the share has the slope 1: -1/4 - ln 2 - 1/2 + 1."""
    value, slope = (math.log(2) + 1) / 2, 0.25 - math.log(2)
    check(lambda m: pairwise.discopop_loss(m, 1.0, tau=0.25), [0.0], value, [slope])


def test_golden_bco() -> None:
    """Shift ln 3 from gains 2 ln 3 and 0: sigma(ln 3) = 3/4 on both sides, 2 ln 4/3; gradients -1/4 and 1/4."""
    inputs, value = [2 * LN3, 0.0], 2 * math.log(4 / 3)
    check(lambda w, x: pairwise.bco_loss(w, x, 1.0, LN3), inputs, value, [-0.25, 0.25])


def test_golden_policy_weights() -> None:
    """Two tokens of 1/2 where the squares add up to 1/2, and one of 1/4 where they add up to 1/8: 1 and 2."""
    logp = vector([math.log(0.5), math.log(0.5), math.log(0.25)], grad=True)
    collision = vector([math.log(0.5), math.log(0.5), math.log(0.125)])
    weights_ = pairwise.policy_weights(
        logp, collision, torch.tensor([0, 0, 1]), torch.tensor([2, 1])
    )
    assert weights_.tolist() == pytest.approx([1.0, 2.0])
    assert not weights_.requires_grad


def test_golden_margins() -> None:
    """g_w = ln 4, g_l = 0: ratios 4 and 1. 1 - 1/4; ln(8/5) - ln 1; (1 - 1/2) / (1/2)."""
    for name, value, slopes in (
        ("reverse_kl", math.log(4), [1.0, -1.0]),
        ("forward_kl", 0.75, [0.25, -1.0]),
        ("js", math.log(1.6), [0.2, -0.5]),
        ("alpha", 1.0, [0.5, -1.0]),
    ):
        check(
            lambda w, x, d=name: pairwise.divergence_margin(w, x, d),  # type: ignore[arg-type]
            [math.log(4), 0.0],
            value,
            slopes,
        )


@light
@given(pairs=gains, name=st.sampled_from(sorted(LOSSES)), beta=st.floats(0.05, 1.5))
def test_matches_the_reference(pairs, name, beta) -> None:
    w, x = vector([p[0] for p in pairs], grad=True), vector([p[1] for p in pairs])
    factors = weights(len(pairs))

    def slow(values: list[float]) -> float:
        cells = zip(factors.tolist(), values, pairs, strict=True)
        return sum(f * reference.PAIR_LOSSES[name](v, p[1], beta) for f, v, p in cells)

    loss = (factors * LOSSES[name](w, x, beta)).sum()
    assert_same(loss, slow([p[0] for p in pairs]), 1e-8)
    assert_gradient(loss, w, slow, 1e-5)


def test_the_alpha_divergence_joins_the_two_kls() -> None:
    w, x = vector([0.7, -0.3]), vector([0.1, 0.4])
    near_zero = pairwise.divergence_margin(w, x, "alpha", 1e-7)
    assert_same(near_zero, (w - x).tolist(), 1e-6)
    near_one = pairwise.divergence_margin(w, x, "alpha", 1 - 1e-9)
    assert_same(near_one, pairwise.divergence_margin(w, x, "forward_kl").tolist(), 1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_far_pairs_stay_finite(name: str) -> None:
    w, x = vector([400.0, -400.0], grad=True), vector([-400.0, 400.0], grad=True)
    loss = LOSSES[name](w, x, 2.0)
    gradients = torch.autograd.grad(loss.sum(), (w, x))
    assert all(torch.isfinite(t).all() for t in (loss, *gradients))


def test_far_margins_stay_finite() -> None:
    w, x = vector([-900.0], grad=True), vector([900.0], grad=True)
    for name in ("forward_kl", "js", "alpha"):
        loss = dpo_loss(pairwise.divergence_margin(w, x, name), 0.1)  # type: ignore[arg-type]
        assert torch.isfinite(loss).all()


@light
@given(pairs=gains, name=st.sampled_from(["reverse_kl", "forward_kl", "js", "alpha"]))
def test_swapping_the_pair_turns_the_sign_of_the_margin(pairs, name) -> None:
    w, x = vector([p[0] for p in pairs]), vector([p[1] for p in pairs])
    forward = pairwise.divergence_margin(w, x, name)
    assert_same(pairwise.divergence_margin(x, w, name), (-forward).tolist())
