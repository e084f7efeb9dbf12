"""One random number a token draws from the same distribution as any other way."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.engines.vllm.seeded_sampling import draw

pytestmark = pytest.mark.ray


def _generators(seeds: list[int]) -> dict[int, torch.Generator]:
    return {row: torch.Generator().manual_seed(seed) for row, seed in enumerate(seeds)}


def test_by_hand() -> None:
    """A uniform number u picks the first token whose cumulative probability is above it."""
    probs = torch.tensor([[0.0, 0.5, 0.0, 0.3, 0.2]])
    for seed in range(50):
        [u] = torch.rand(1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        expected = 1 if u < 0.5 else 3 if u < 0.8 else 4
        assert draw(probs, _generators([seed])).tolist() == [expected]


def test_frequencies_are_the_probabilities() -> None:
    """40,000 draws of the token at which a request starts, and of the ones it draws next: within four deviations."""
    num = 20_000
    probs = torch.tensor([0.001, 0.05, 0.249, 0.4, 0.3]).expand(num, -1)
    generators = _generators(list(range(num)))
    drawn = torch.cat([draw(probs, generators), draw(probs, generators)])
    counts = torch.bincount(drawn, minlength=5)
    expected = probs[0].double() * 2 * num
    deviations = (counts - expected).abs() / (expected * (1 - probs[0].double())).sqrt()
    assert deviations.max() < 4


@given(seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=6), vocab=st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_company_does_not_matter(seeds: list[int], vocab: int) -> None:
    torch.manual_seed(0)
    probs = torch.randn(len(seeds), vocab).mul(3).softmax(-1)
    probs[:, : vocab // 2] = 0
    together = draw(probs, _generators(seeds)).tolist()
    alone = [draw(probs[i : i + 1], _generators([s])).item() for i, s in enumerate(seeds)]
    assert together == alone
    assert min(together) >= vocab // 2


@pytest.mark.parametrize("size", [1, 50_000])
def test_the_largest_number_stays_within_the_vocabulary(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.full((1,), 1 - 2**-53).double())
    probs = torch.full((1, size), 1 / size)
    assert draw(probs, _generators([0])).item() == size - 1
