import math

import pytest
import torch
from golden import reference
from golden.compare import assert_gradient, assert_same, light, vector, weights
from hypothesis import given
from hypothesis import strategies as st

from medray.losses import preference
from medray.losses.reduce import total_over

LN3 = math.log(3)
LOSS3 = -math.log(0.75)  # -log sigma(ln 3), since sigma(ln 3) = 3/4
number = st.floats(-4, 4)
numbers = st.lists(number, min_size=1, max_size=5)


def value_and_gradients(loss_of, *inputs: float):
    """One pair's loss and its gradient at each input."""
    leaves = [vector([x], grad=True) for x in inputs]
    loss = loss_of(*leaves)
    gradients = torch.autograd.grad(loss.sum(), leaves)
    return loss.item(), [g.item() for g in gradients]


def check(loss_of, inputs, value, gradients) -> None:
    got, slopes = value_and_gradients(loss_of, *inputs)
    assert got == pytest.approx(value, abs=1e-12)
    assert slopes == pytest.approx(gradients, abs=1e-12)


def test_golden_dpo() -> None:
    """beta m = ln 3 with beta = 1/2: loss -ln 3/4, gradient -beta (1 - 3/4) = -1/8."""
    check(lambda m: preference.dpo_loss(m, 0.5), [2 * LN3], LOSS3, [-0.125])


def test_golden_conservative_dpo() -> None:
    """e = 0.1, m = ln 3: -0.9 ln 3/4 - 0.1 ln 1/4; gradient -0.9 / 4 + 0.1 * 3/4 = -0.15."""
    expected = 0.9 * LOSS3 - 0.1 * math.log(0.25)
    check(lambda m: preference.dpo_loss(m, 1.0, 0.1), [LN3], expected, [-0.15])


def test_golden_robust_dpo() -> None:
    """e = 0.1, m = ln 3: (-0.9 ln 3/4 + 0.1 ln 1/4) / 0.8; gradient (-0.9/4 - 0.1 * 3/4) / 0.8 =
    -3/8."""
    expected = (0.9 * LOSS3 + 0.1 * math.log(0.25)) / 0.8
    check(lambda m: preference.robust_dpo_loss(m, 1.0, 0.1), [LN3], expected, [-0.375])


def test_golden_ipo() -> None:
    """beta = 1/2 aims at a margin of 1: (3 - 1)^2 = 4, gradient 2 * 2."""
    check(lambda m: preference.ipo_loss(m, 0.5), [3.0], 4.0, [4.0])


@pytest.mark.parametrize(("margin", "value", "slope"), [(1.0, 0.5, -0.5), (4.0, 0.0, 0.0)])
def test_golden_hinge(margin, value, slope) -> None:
    """beta = 1/2: 1 - 1/2 = 1/2 with gradient -1/2; beyond a margin of 2 nothing."""
    check(lambda m: preference.hinge_loss(m, 0.5), [margin], value, [slope])


def test_golden_simpo() -> None:
    """beta = 4 times a gap of 1/2, less gamma = 2 - ln 3, is ln 3; gradients -+4 * 1/4."""
    check(lambda c, r: preference.simpo_loss(c, r, 4.0, 2 - LN3), [-0.5, -1.0], LOSS3, [-1.0, 1.0])


def test_golden_orpo() -> None:
    """p = 3/4 has odds 3, p = 1/2 odds 1: log ratio ln 3. d log odds / d logp = 1 / (1 - p) = 4 and
    2, so the
    gradients are -1/4 * 4 = -1 and 1/4 * 2 = 1/2.
    """
    check(preference.orpo_loss, [math.log(0.75), math.log(0.5)], LOSS3, [-1.0, 0.5])


@pytest.mark.parametrize(
    ("desirable", "value", "slope"), [(True, 2 * 0.25, -2 * 3 / 16), (False, 3 * 0.75, 3 * 3 / 16)]
)
def test_golden_kto(desirable, value, slope) -> None:
    """beta = 1, log ratio ln 3 + 1/2 above a reference point of 1/2: sigma = 3/4, slope 3/4 * 1/4 =
    3/16.

    Desirable (weight 2): 2 (1 - 3/4), falling. Undesirable (weight 3): 3 (1 - 1/4), rising.
    """

    def loss(logp):
        return preference.kto_loss(
            logp,
            vector([-5.0]),
            torch.tensor([desirable]),
            torch.tensor(0.5, dtype=torch.float64),
            1.0,
            desirable_weight=2.0,
            undesirable_weight=3.0,
        )

    check(loss, [LN3 + 0.5 - 5], value, [slope])


@pytest.mark.parametrize(("total", "expected"), [(3.0, 0.75), (-3.0, 0.0)])
def test_golden_kto_reference_point(total, expected) -> None:
    """Sum 3 over 4 responses is 0.75; a negative mean becomes 0. No gradient either way."""
    log_ratio_sum = torch.tensor(total, dtype=torch.float64, requires_grad=True)
    point = preference.kto_reference_point(log_ratio_sum, 4)
    assert_same(point, expected)
    assert not point.requires_grad


def test_golden_bradley_terry() -> None:
    """Scores 2 + ln 3 and 1 with a margin of 1: gap ln 3, loss -ln 3/4, gradients -+1/4.

    Centring 0.1 adds 0.1 (3 + ln 3)^2 and 0.2 (3 + ln 3) to both gradients.
    """
    margin, total = vector([1.0]), 3 + LN3

    def plain(chosen, rejected):
        return preference.bradley_terry_loss(chosen, rejected, margin)

    def centred(chosen, rejected):
        return preference.bradley_terry_loss(chosen, rejected, margin, 0.1)

    check(plain, [2 + LN3, 1.0], LOSS3, [-0.25, 0.25])
    check(
        centred,
        [2 + LN3, 1.0],
        LOSS3 + 0.1 * total**2,
        [-0.25 + 0.2 * total, 0.25 + 0.2 * total],
    )


REFERENCES = {
    "dpo": (
        lambda m: preference.dpo_loss(m, 0.3, 0.2),
        lambda m: reference.dpo(m, 0.3, 0.2),
    ),
    "robust": (
        lambda m: preference.robust_dpo_loss(m, 0.3, 0.2),
        lambda m: reference.robust_dpo(m, 0.3, 0.2),
    ),
    "ipo": (
        lambda m: preference.ipo_loss(m, 0.3),
        lambda m: (m - 1 / 0.6) ** 2,
    ),
    "simpo": (
        lambda m: preference.simpo_loss(m, torch.zeros_like(m), 2.0, 0.5),
        lambda m: -math.log(reference.sigma(2 * m - 0.5)),
    ),
    "reward": (
        lambda m: preference.bradley_terry_loss(
            m, torch.ones_like(m), 0.5 * torch.ones_like(m), 0.1
        ),
        lambda m: reference.bradley_terry(m, 1.0, 0.5, 0.1),
    ),
}


@pytest.mark.parametrize("name", sorted(REFERENCES))
@light
@given(margins=numbers)
def test_matches_the_reference(name, margins) -> None:
    loss_of, slow_of = REFERENCES[name]
    margin, factors = vector(margins, grad=True), weights(len(margins)).tolist()

    def slow(values: list[float]) -> float:
        return sum(w * slow_of(m) for w, m in zip(factors, values, strict=True))

    loss = (vector(factors) * loss_of(margin)).sum()
    assert_same(loss, slow(margins))
    assert_gradient(loss, margin, slow)


@light
@given(chosen=st.floats(-4, -0.05), rejected=st.floats(-4, -0.05))
def test_orpo_matches_the_reference(chosen, rejected) -> None:
    both = vector([chosen, rejected], grad=True)
    loss = preference.orpo_loss(both[:1], both[1:]).sum()
    assert_same(loss, reference.odds_ratio_loss(chosen, rejected))
    assert_gradient(loss, both, lambda x: reference.odds_ratio_loss(x[0], x[1]))


@light
@given(ratio=number, z=st.floats(0, 1), desirable=st.booleans(), weight=st.floats(0.5, 2))
def test_kto_matches_the_reference(ratio, z, desirable, weight) -> None:
    logp = vector([ratio], grad=True)
    loss = preference.kto_loss(
        logp,
        vector([0.0]),
        torch.tensor([desirable]),
        torch.tensor(z, dtype=torch.float64),
        0.7,
        weight,
        weight,
    ).sum()
    assert_same(loss, reference.kto(ratio, desirable, z, 0.7, weight))
    assert_gradient(loss, logp, lambda x: reference.kto(x[0], desirable, z, 0.7, weight))


@light
@given(margins=numbers)
def test_half_of_the_labels_wrong_is_the_symmetric_loss(margins) -> None:
    """Smoothing e trades with the sign: loss(m, e) - loss(-m, e) = -(1 - 2e) beta m."""
    m = vector(margins)
    gap = preference.dpo_loss(m, 0.4, 0.3) - preference.dpo_loss(-m, 0.4, 0.3)
    torch.testing.assert_close(gap, -(1 - 0.6) * 0.4 * m)


@light
@given(margins=numbers, flipped=st.floats(0, 0.4))
def test_robust_loss_is_unbiased_under_flipped_labels(margins, flipped) -> None:
    m = vector(margins)
    noisy = (1 - flipped) * preference.robust_dpo_loss(m, 0.5, flipped)
    noisy = noisy + flipped * preference.robust_dpo_loss(-m, 0.5, flipped)
    torch.testing.assert_close(noisy, preference.dpo_loss(m, 0.5))


@light
@given(margins=numbers, cut=st.integers(0, 5))
def test_parts_over_the_steps_count_add_up(margins, cut) -> None:
    m = vector(margins, grad=True)
    whole = total_over(preference.dpo_loss(m, 0.5), len(margins))
    parts = [
        total_over(preference.dpo_loss(part, 0.5), len(margins)) for part in (m[:cut], m[cut:])
    ]
    torch.testing.assert_close(parts[0] + parts[1], whole)
    gradients = [
        torch.autograd.grad(x, m, retain_graph=True)[0] for x in (parts[0] + parts[1], whole)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("mean_logp", [0.0, -1e-9, -60.0, -800.0])
def test_orpo_is_finite_at_the_ends(mean_logp) -> None:
    """A chosen response of probability 1, or of none, has a finite loss and gradient in float32."""
    chosen = torch.tensor([mean_logp], requires_grad=True)
    loss = preference.orpo_loss(chosen, torch.tensor([-1.0]))
    loss.sum().backward()
    assert chosen.grad is not None
    assert torch.isfinite(loss).all()
    assert torch.isfinite(chosen.grad).all()
    if mean_logp <= -60:
        # log odds(e^-60) = -60, log odds(e^-1) = -1 - log(1 - 1/e) = -0.5413: loss is the gap
        # itself.
        assert loss.item() == pytest.approx(-mean_logp - 0.5413, abs=1e-3)


def test_odds_of_a_nearly_certain_response_keep_float32_precision() -> None:
    """p = exp(-1e-5): log odds = -1e-5 - ln(1 - p) = 11.5129205; 1 - p rounded first gives 11.5116."""
    ratio = preference.log_odds_ratio(torch.tensor([-1e-5]), torch.tensor([-0.6931472]))
    assert ratio.item() == pytest.approx(11.5129205, abs=1e-5)


@pytest.mark.parametrize("smoothing", [-0.1, 0.5])
def test_smoothing_out_of_range_is_refused(smoothing) -> None:
    for method in (preference.dpo_loss, preference.robust_dpo_loss):
        with pytest.raises(ValueError, match="label_smoothing"):
            method(vector([1.0]), 0.1, smoothing)


def test_kto_reference_point_needs_a_response() -> None:
    with pytest.raises(ValueError, match="at least one"):
        preference.kto_reference_point(torch.tensor(0.0), 0)
