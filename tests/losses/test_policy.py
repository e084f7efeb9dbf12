import math

import pytest
import torch
from golden import reference
from golden.compare import assert_gradient, assert_same, integers, light, vector, weights
from hypothesis import assume, given
from hypothesis import strategies as st

from medray.errors import NumericsError
from medray.losses.policy import (
    cispo_loss,
    clipped_policy_loss,
    dppo_loss,
    gmpo_loss,
    gspo_loss,
    off_policy_mask,
    sapo_loss,
)
from medray.losses.reduce import aggregate
from medray.types import StepTotals

LN2 = math.log(2)
tokens = st.lists(
    st.tuples(st.floats(-3, -0.1), st.floats(-3, -0.1), st.floats(-2, 2)), min_size=1, max_size=6
)


def columns(rows):
    return [list(column) for column in zip(*rows, strict=True)]


def test_golden_clipped() -> None:
    """Behaviour probability 1/2 everywhere, bounds 0.8 and 1.2, ratios and advantages:

        r    A   min(r A, clip(r) A)        loss   d loss / d logp = -r A unless clipped
        1    2   min(2, 2)                  -2     -2
        1.5  2   min(3, 2.4)      clipped   -2.4    0
        1.5  -1  min(-1.5, -1.2)             1.5    1.5
        0.5  -1  min(-0.5, -0.8)  clipped    0.8    0
        0.5  2   min(1, 1.6)                -1     -1

    Sum of ratios 5; two clipped.
    """
    ratios = [1.0, 1.5, 1.5, 0.5, 0.5]
    logp = vector([math.log(r / 2) for r in ratios], grad=True)
    behaviour, advantage = vector([math.log(0.5)] * 5), vector([2.0, 2.0, -1.0, -1.0, 2.0])
    loss, stats = clipped_policy_loss(logp, behaviour, advantage, 0.2, 0.2)
    loss.sum().backward()
    assert logp.grad is not None
    assert_same(loss, [-2.0, -2.4, 1.5, 0.8, -1.0])
    assert_same(logp.grad, [-2.0, 0.0, 1.5, 0.0, -1.0])
    assert_same(stats.ratio, 5.0)
    assert_same(stats.num_clipped, 2.0)


def test_golden_gspo() -> None:
    """Response 0: log ratios ln 2 and 0, so s = sqrt(2), inside 1.5; A = 1. Response 1: ratio 0.9,
    A = -2.

    Losses -sqrt(2), -sqrt(2), 1.8. In the plain sum response 0 counts twice with d s / d logp = s /
    2 at each token, hence -sqrt(2); under "sequence" over two responses half of s / 2.
    """
    logp = vector([LN2 - 1, -1.0, math.log(0.9) - 1], grad=True)
    behaviour, advantage = vector([-1.0, -1.0, -1.0]), vector([1.0, 1.0, -2.0])
    index, lengths = integers([0, 0, 1]), integers([2, 1])
    loss, stats = gspo_loss(logp, behaviour, advantage, index, lengths, 0.5, 0.5)
    (plain,) = torch.autograd.grad(loss.sum(), logp, retain_graph=True)
    assert_same(loss, [-math.sqrt(2), -math.sqrt(2), 1.8])
    assert_same(plain, [-math.sqrt(2), -math.sqrt(2), 1.8])
    scalar = aggregate(loss, index, lengths, StepTotals(3, 2, 1), "sequence")
    (gradient,) = torch.autograd.grad(scalar, logp)
    assert_same(scalar, (1.8 - math.sqrt(2)) / 2)
    assert_same(gradient, [-math.sqrt(2) / 4, -math.sqrt(2) / 4, 0.9])
    assert_same(stats.ratio, 2 * math.sqrt(2) + 0.9)
    assert_same(stats.num_clipped, 0.0)


def test_golden_cispo() -> None:
    """Ratios 2, 1, 1/4 under bounds 0.5 and 1.5 become the weights 1.5, 1, 0.5; with A = 1, -1, 2
    the loss
    is -w A logp and its gradient -w A: -1.5, 1, -1. Two ratios were outside.
    """
    ratios = [2.0, 1.0, 0.25]
    logp = vector([math.log(r) - 2 for r in ratios], grad=True)
    loss, stats = cispo_loss(logp, vector([-2.0] * 3), vector([1.0, -1.0, 2.0]), 0.5, 0.5)
    loss.sum().backward()
    assert logp.grad is not None
    assert_same(loss, [-1.5 * (LN2 - 2), -2.0, -math.log(0.25) + 2])
    assert_same(logp.grad, [-1.5, 1.0, -1.0])
    assert_same(stats.num_clipped, 2.0)


@light
@given(rows=tokens, low=st.floats(0.05, 0.9), high=st.floats(0.05, 0.9))
def test_clipped_matches_the_reference(rows, low, high) -> None:
    for new, old, _ in rows:  # away from the two kinks, where no derivative exists
        ratio = math.exp(new - old)
        assume(min(abs(ratio - (1 - low)), abs(ratio - (1 + high))) > 1e-3)
    new, old, advantage = columns(rows)
    factors = weights(len(rows)).tolist()
    logp = vector(new, grad=True)
    loss, _ = clipped_policy_loss(logp, vector(old), vector(advantage), low, high)

    def slow(values: list[float]) -> float:
        cells = zip(factors, values, old, advantage, strict=True)
        return sum(w * reference.ppo_token(p, b, a, low, high) for w, p, b, a in cells)

    total = (vector(factors) * loss).sum()
    assert_same(total, slow(new))
    assert_gradient(total, logp, slow)


@light
@given(
    rows=tokens, advantage=st.floats(0.1, 2), low=st.floats(0.1, 0.9), sign=st.sampled_from([1, -1])
)
def test_gspo_matches_the_reference(rows, advantage, low, sign) -> None:
    new, old, _ = columns(rows)
    count, adv = len(rows), sign * advantage
    ratio = math.exp(sum(n - o for n, o in zip(new, old, strict=True)) / count)
    assume(min(abs(ratio - (1 - low)), abs(ratio - (1 + low))) > 1e-3)
    logp = vector(new, grad=True)
    loss, _ = gspo_loss(
        logp,
        vector(old),
        vector([adv] * count),
        integers([0] * count),
        integers([count]),
        low,
        low,
    )

    def slow(values: list[float]) -> float:
        return reference.gspo_sequence(values, old, adv, low, low)

    assert_same(loss.mean(), slow(new))
    assert_gradient(loss.mean(), logp, slow)


@light
@given(rows=tokens)
def test_ratio_one_gives_the_reinforce_gradient(rows) -> None:
    """On-policy every loss here has the gradient -A of -A * logp, token by token."""
    _, old, advantage = columns(rows)
    count = len(rows)
    behaviour, adv = vector(old), vector(advantage)
    index, lengths = integers(list(range(count))), integers([1] * count)
    for method in (clipped_policy_loss, cispo_loss):
        logp = vector(old, grad=True)
        method(logp, behaviour, adv, 0.2, 0.2)[0].sum().backward()
        assert logp.grad is not None
        assert_same(logp.grad, [-a for a in advantage])
    logp = vector(old, grad=True)
    gspo_loss(logp, behaviour, adv, index, lengths, 0.2, 0.2)[0].sum().backward()
    assert logp.grad is not None
    assert_same(logp.grad, [-a for a in advantage])


@light
@given(rows=tokens)
def test_ratio_one_gives_the_reinforce_gradient_of_the_others(rows) -> None:
    _, old, advantage = columns(rows)
    count, behaviour, adv = len(rows), vector(old), vector(advantage)
    index, lengths = integers(list(range(count))), integers([1] * count)
    for method, settings in (
        (gmpo_loss, (index, lengths, 0.4, 0.4)),
        (sapo_loss, (1.0, 1.05)),
        (dppo_loss, (0.2, 0.2, "tv")),
        (dppo_loss, (0.05, 0.05, "kl")),
    ):
        logp = vector(old, grad=True)
        method(logp, behaviour, adv, *settings)[0].sum().backward()
        assert logp.grad is not None
        assert_same(logp.grad, [-a for a in advantage])


@light
@given(rows=tokens, delta=st.floats(1.5, 4))
def test_the_two_sided_clip_is_the_dual_clip(rows, delta) -> None:
    """INTELLECT-2, arXiv:2505.07291: min(min(r, delta) A, clip(r) A)."""
    new, old, advantage = columns(rows)
    loss, _ = clipped_policy_loss(vector(new), vector(old), vector(advantage), 0.2, 0.2, delta)
    ratios = [math.exp(n - o) for n, o in zip(new, old, strict=True)]
    expected = [
        -min(min(r, delta) * a, min(max(r, 0.8), 1.2) * a)
        for r, a in zip(ratios, advantage, strict=True)
    ]
    assert_same(loss, expected)


def test_golden_off_policy_mask() -> None:
    """Response 0 fell by ln 4 and rose by ln 2, so by ln(2) / 2 a token; response 1 fell by ln 2; 2 rose.

    With a negative advantage 0 stays below 0.5 nats and 1 does not; a positive one is always kept.
    """
    gaps = [-2 * LN2, LN2, -LN2, -LN2, LN2]
    logp, behaviour = vector([g - 1 for g in gaps], grad=True), vector([-1.0] * 5)
    index, lengths = integers([0, 0, 1, 1, 2]), integers([2, 2, 1])
    for sign, kept in ((-1.0, [True, True, False, False, True]), (1.0, [True] * 5)):
        advantage = vector([sign] * 5)
        mask = off_policy_mask(logp, behaviour, advantage, index, lengths, 0.5)
        assert mask.tolist() == kept


@light
@given(rows=tokens, low=st.floats(0, 0.9), high=st.floats(0, 2))
def test_clip_bounds_what_can_be_gained(rows, low, high) -> None:
    """Never better than the bound allows, never better than unclipped; no gradient where it
    bites."""
    new, old, advantage = columns(rows)
    logp, behaviour, adv = vector(new, grad=True), vector(old), vector(advantage)
    loss, stats = clipped_policy_loss(logp, behaviour, adv, low, high)
    loss.sum().backward()
    ratio = (logp - behaviour).exp()
    best = -torch.where(adv > 0, (1 + high) * adv, (1 - low) * adv)
    assert (loss >= best - 1e-12).all()
    assert (loss >= -(ratio * adv) - 1e-12).all()
    biting = ((adv > 0) & (ratio > 1 + high)) | ((adv < 0) & (ratio < 1 - low))
    assert logp.grad is not None
    assert (logp.grad[biting] == 0).all()
    assert int(stats.num_clipped) == int(biting.sum())


@light
@given(rows=tokens, cut=st.integers(0, 6))
def test_statistics_of_two_parts_add_up_to_those_of_the_whole(rows, cut) -> None:
    new, old, advantage = (vector(c) for c in columns(rows))
    cut = min(cut, len(rows))
    whole = clipped_policy_loss(new, old, advantage, 0.2, 0.3)[1]
    first, second = (
        clipped_policy_loss(new[part], old[part], advantage[part], 0.2, 0.3)[1]
        for part in (slice(None, cut), slice(cut, None))
    )
    torch.testing.assert_close(first.ratio + second.ratio, whole.ratio)
    torch.testing.assert_close(first.num_clipped + second.num_clipped, whole.num_clipped)


def test_overflowing_ratio_stays_finite() -> None:
    """A log ratio of 300 would be e^300; with A = -1 the loss is e^20, and zero advantage gives
    zero."""
    logp = torch.tensor([0.0, 0.0], requires_grad=True)
    loss, _ = clipped_policy_loss(
        logp, torch.tensor([-300.0, -300.0]), torch.tensor([-1.0, 0.0]), 0.2, 0.2
    )
    assert loss[0].item() == pytest.approx(math.exp(20), rel=1e-6)
    assert loss[1].item() == 0


@pytest.mark.parametrize("method", [clipped_policy_loss, cispo_loss])
@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_behaviour_logp_must_be_finite(method, bad) -> None:
    with pytest.raises(NumericsError, match=r"behaviour_logp\[1\] is (nan|-inf)"):
        method(vector([-1.0, -1.0]), vector([-1.0, bad]), vector([1.0, 1.0]), 0.2, 0.2)


def test_non_finite_policy_logp_reaches_the_loss() -> None:
    """A broken learner must show in the loss, where divergence is caught, not be hidden by the
    clamp."""
    loss, _ = clipped_policy_loss(vector([math.nan]), vector([-1.0]), vector([1.0]), 0.2, 0.2)
    assert torch.isnan(loss).all()


def test_no_tokens() -> None:
    loss, stats = clipped_policy_loss(vector([]), vector([]), vector([]), 0.2, 0.2)
    assert loss.shape == (0,)
    assert_same(stats.ratio, 0.0)
