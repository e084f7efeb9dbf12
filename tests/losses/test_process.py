import math

import pytest
import torch
from golden import reference
from golden.compare import assert_gradient, light, vector
from hypothesis import given
from hypothesis import strategies as st

from medray.losses.process import step_loss

LN3 = math.log(3)


def value_and_gradient(score: float, label: float) -> tuple[float, float]:
    at = vector([score], grad=True)
    loss = step_loss(at, vector([label]))
    [gradient] = torch.autograd.grad(loss.sum(), [at])
    return loss.item(), gradient.item()


@pytest.mark.parametrize(
    ("label", "loss", "gradient"),
    [
        (1.0, -math.log(0.75), -0.25),
        (0.0, -math.log(0.25), 0.75),
        (0.75, -0.75 * math.log(0.75) - 0.25 * math.log(0.25), 0.0),
        (0.5, -0.5 * math.log(0.75) - 0.5 * math.log(0.25), 0.25),
    ],
)
def test_golden_step(label: float, loss: float, gradient: float) -> None:
    """s = ln 3, so sigma(s) = 3/4; the gradient is 3/4 - y, and 0 where the label is what is predicted."""
    assert value_and_gradient(LN3, label) == pytest.approx((loss, gradient), abs=1e-12)


@light
@given(score=st.floats(-6, 6), label=st.floats(0, 1))
def test_it_is_the_equation(score: float, label: float) -> None:
    at = vector([score], grad=True)
    loss = step_loss(at, vector([label])).sum()
    assert loss.item() == pytest.approx(reference.cross_entropy(score, label), abs=1e-12)
    assert_gradient(loss, at, lambda s: reference.cross_entropy(s[0], label))


def test_a_certain_step_keeps_a_finite_loss() -> None:
    """In float32, where sigma(200) is 1, a wrong verdict costs 200 nats and a right one nothing."""
    scores = torch.tensor([200.0, 200.0, -200.0], requires_grad=True)
    loss = step_loss(scores, torch.tensor([0.0, 1.0, 1.0]))
    assert loss.tolist() == [200.0, 0.0, 200.0]
    loss.sum().backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [1.0, 0.0, -1.0]
