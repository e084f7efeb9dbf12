import math

import pytest
import torch
from golden import reference
from golden.compare import assert_gradient, assert_same, light, vector, weights
from hypothesis import given
from hypothesis import strategies as st

from medray.losses.kl import bernoulli_kl, importance_weighted, k1, k2, k3, kl_estimator

LN2 = math.log(2)
logps = st.lists(st.tuples(st.floats(-6, 0), st.floats(-6, 0)), min_size=1, max_size=6)
names = st.sampled_from(["k1", "k2", "k3"])


@pytest.mark.parametrize(
    ("estimator", "value", "gradient"),
    [
        ("k1", [LN2, -LN2, 0.0], [1.0, 1.0, 1.0]),
        ("k2", [LN2**2 / 2, LN2**2 / 2, 0.0], [LN2, -LN2, 0.0]),
        ("k3", [0.5 - 1 + LN2, 2 - 1 - LN2, 0.0], [0.5, -1.0, 0.0]),
    ],
)
def test_golden(estimator, value, gradient) -> None:
    """Log ratios d = ln 2, -ln 2, 0.

    k1 = d, gradient 1. k2 = d^2/2, gradient d. k3 = e^-d - 1 + d: 1/2 - 1 + ln 2 and 2 - 1 - ln 2,
    gradient 1 - e^-d: 1/2 and -1.
    """
    logp = vector([-1 + LN2, -1 - LN2, -1.0], grad=True)
    penalty = kl_estimator(estimator)(logp, vector([-1.0, -1.0, -1.0]))
    penalty.sum().backward()
    assert logp.grad is not None
    assert_same(penalty, value)
    assert_same(logp.grad, gradient)


@light
@given(pairs=logps, name=names)
def test_matches_the_reference(pairs, name) -> None:
    logp, ref = vector([p for p, _ in pairs], grad=True), vector([r for _, r in pairs])
    factors = weights(len(pairs))

    def slow(values: list[float]) -> float:
        terms = (
            reference.kl_estimator(p, r, name) for p, (_, r) in zip(values, pairs, strict=True)
        )
        return sum(float(w) * k for w, k in zip(factors, terms, strict=True))

    loss = (factors * kl_estimator(name)(logp, ref)).sum()
    assert_same(loss, slow([p for p, _ in pairs]), 1e-8)
    assert_gradient(loss, logp, slow, 1e-5)


@light
@given(pairs=logps)
def test_k2_and_k3_are_never_negative_and_zero_only_on_agreement(pairs) -> None:
    logp, ref = vector([p for p, _ in pairs]), vector([r for _, r in pairs])
    for value in (k2(logp, ref), k3(logp, ref)):
        assert (value >= 0).all()
    assert (k3(logp, logp) == 0).all()


def test_expected_values_over_a_whole_distribution() -> None:
    """Averaged over every token by its probability, k1 and k3 are the KL itself; k2 is not."""
    policy, ref = vector([0.3, -1.0, 0.8, 0.0]).log_softmax(0), vector([1, 0, 0, -1]).log_softmax(0)
    kl = (policy.exp() * (policy - ref)).sum()
    mean = {name: (policy.exp() * f(policy, ref)).sum() for name, f in KS.items()}
    torch.testing.assert_close(mean["k1"], kl)
    torch.testing.assert_close(mean["k3"], kl)
    assert abs(mean["k2"] - kl) > 1e-3


KS = {"k1": k1, "k2": k2, "k3": k3}


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_expected_gradient_as_a_loss(name) -> None:
    """The docstring's table: zero for k1, grad KL(policy || ref) for k2, grad KL(ref || policy) for
    k3."""
    logits = vector([0.3, -1.0, 0.8, 0.0], grad=True)
    ref = vector([1, 0, 0, -1]).log_softmax(0)
    policy = logits.log_softmax(0)
    sampled = (policy.detach().exp() * KS[name](policy, ref)).sum()
    got = torch.autograd.grad(sampled, logits, retain_graph=True)[0]
    target = {
        "k1": 0 * policy.sum(),
        "k2": (policy.exp() * (policy - ref)).sum(),
        "k3": (ref.exp() * (ref - policy)).sum(),
    }[name]
    expected = torch.autograd.grad(target, logits)[0]
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_k3_of_an_extreme_token_stays_finite_and_has_no_gradient() -> None:
    """A gap of 500 nats would be e^500; the bound of 20 leaves e^20 - 21."""
    logp = vector([-500.0], grad=True)
    value = k3(logp, vector([0.0]))
    value.sum().backward()
    assert logp.grad is not None
    assert_same(value, [math.exp(20) - 21])
    assert logp.grad.tolist() == [0.0]


def test_k3_keeps_small_differences_in_float32() -> None:
    """At d = 1e-3, k3 is d^2/2 - d^3/6 = 4.99833e-7, far below the rounding of exp(d) - 1 - d."""
    value = k3(torch.tensor([-1e-3]), torch.tensor([0.0]))
    assert value.item() == pytest.approx(1e-6 / 2 + 1e-9 / 6, rel=2e-3)


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_the_weighted_gradient_is_that_of_the_kl_whoever_sampled(name: str) -> None:
    """Averaged over every token by the sampler's probability, it is autograd's gradient of the whole KL."""
    sampler = vector([0.1, 0.5, -0.2, 0.3]).log_softmax(0)
    ref = vector([1, 0, 0, -1]).log_softmax(0)
    logits = vector([0.3, -1.0, 0.8, 0.0], grad=True)
    policy = logits.log_softmax(0)
    (exact,) = torch.autograd.grad((policy.exp() * (policy - ref)).sum(), logits, retain_graph=True)
    estimate = importance_weighted(kl_estimator(name), policy, ref, sampler)
    (found,) = torch.autograd.grad((sampler.exp() * estimate).sum(), logits, retain_graph=True)
    assert_same(found, exact.tolist())
    plain = (sampler.exp() * kl_estimator(name)(policy, ref)).sum()
    (biased,) = torch.autograd.grad(plain, logits)
    assert (biased - exact).abs().max() > 1e-2, "without the weight it is another direction"


def test_bernoulli_kl() -> None:
    """0.5 against 0.25: 0.5 ln 2 + 0.5 ln(0.5 / 0.75). Near probability 1 it stays finite."""
    found = bernoulli_kl(vector([math.log(0.5), -0.1]), vector([math.log(0.25), 0.0]))
    assert float(found[0]) == pytest.approx(0.5 * LN2 + 0.5 * math.log(2 / 3))
    assert torch.isfinite(found).all()
