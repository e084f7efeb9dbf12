"""Comparing a tensor loss with its slow reference, value and gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from golden.reference import numeric_gradient
from hypothesis import settings
from torch import Tensor

light = settings(max_examples=40, deadline=None, derandomize=True)


def vector(values: Sequence[float], *, grad: bool = False) -> Tensor:
    """A float64 tensor, a leaf that collects its gradient when asked."""
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def integers(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def assert_same(actual: Tensor, expected: Sequence[float] | float, tolerance: float = 1e-9) -> None:
    """Equal in float64, to a tolerance that is both relative and absolute."""
    want = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.detach().double(), want, rtol=tolerance, atol=tolerance)


def assert_gradient(
    loss: Tensor, leaf: Tensor, reference: Callable[[list[float]], float], tolerance: float = 1e-6
) -> None:
    """The loss's gradient at the leaf against central differences of the reference."""
    (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    expected = numeric_gradient(reference, leaf.detach().flatten().tolist())
    assert_same(gradient.flatten(), expected, tolerance)


def weights(count: int) -> Tensor:
    """Unequal factors, so that a loss at the wrong token shows up in the sum."""
    return 1 + torch.arange(count, dtype=torch.float64) / 7
