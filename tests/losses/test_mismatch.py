import math

import pytest
import torch
from golden.compare import assert_same, integers, light, vector
from hypothesis import given
from hypothesis import strategies as st

from medray.errors import NumericsError
from medray.losses.mismatch import (
    icepop_weight,
    sequence_mask,
    sequence_mis_weight,
    sequence_tis_weight,
    tis_weight,
)

LN2 = math.log(2)
pairs = st.lists(st.tuples(st.floats(-5, 0), st.floats(-5, 0)), min_size=1, max_size=6)


def logps_for(ratios: list[float]):
    return vector([math.log(r) - 3 for r in ratios], grad=True), vector([-3.0] * len(ratios))


def test_golden_weights() -> None:
    """Ratios 1/4, 1, 4, 8: capped at 2 they are 1/4, 1, 2, 2; kept within [1/2, 5], 0, 1, 4, 0."""
    logp, behaviour = logps_for([0.25, 1.0, 4.0, 8.0])
    assert_same(tis_weight(logp, behaviour, cap=2.0), [0.25, 1.0, 2.0, 2.0])
    assert_same(icepop_weight(logp, behaviour, low=0.5, high=5.0), [0.0, 1.0, 4.0, 0.0])


def test_golden_sequence_mask() -> None:
    """Response 0 has ratios 4 and 1/4, geometric mean 1, kept; response 1 has 4 and 2, mean
    sqrt(8), dropped.

    The arithmetic mean of response 0 would be 2.125 and drop it as well.
    """
    logp, behaviour = logps_for([4.0, 4.0, 0.25, 2.0])
    mask = sequence_mask(logp, behaviour, integers([0, 1, 0, 1]), integers([2, 2]), 0.5, 2.0)
    assert mask.tolist() == [True, False, True, False]


def test_golden_products() -> None:
    """Response 0 has ratios 4 and 1/4, product 1; response 1 has 4 and 2, product 8, capped at 3 or left out."""
    logp, behaviour = logps_for([4.0, 4.0, 0.25, 2.0])
    sequences = integers([0, 1, 0, 1]), integers([2, 2])
    assert_same(sequence_tis_weight(logp, behaviour, *sequences, cap=3.0), [1.0, 3.0, 1.0, 3.0])
    assert_same(
        sequence_mis_weight(logp, behaviour, *sequences, low=0.5, high=3.0), [1.0, 0.0, 1.0, 0.0]
    )
    assert_same(
        sequence_mis_weight(logp, behaviour, *sequences, low=2.0, high=9.0), [0.0, 8.0, 0.0, 8.0]
    )


def test_lower_bound_drops_too() -> None:
    """Ratio 1/4 is outside [1/2, 2] and inside [1/5, 2]."""
    logp, behaviour = logps_for([0.25])
    index, lengths = integers([0]), integers([1])
    assert not sequence_mask(logp, behaviour, index, lengths, 0.5, 2.0)
    assert sequence_mask(logp, behaviour, index, lengths, 0.2, 2.0)


@light
@given(rows=pairs, cap=st.floats(0.5, 4))
def test_weights_are_constants_within_their_bounds(rows, cap) -> None:
    logp, behaviour = vector([a for a, _ in rows], grad=True), vector([b for _, b in rows])
    truncated, masked = tis_weight(logp, behaviour, cap), icepop_weight(logp, behaviour, 0.5, cap)
    assert not truncated.requires_grad
    assert not masked.requires_grad
    assert (truncated <= cap).all()
    ratio = (logp - behaviour).exp().detach()
    assert_same(truncated, [min(r, cap) for r in ratio.tolist()])
    assert_same(masked, [r if 0.5 <= r <= cap else 0.0 for r in ratio.tolist()])


def test_agreement_leaves_everything_as_it_is() -> None:
    logp = vector([-1.0, -7.0])
    assert tis_weight(logp, logp).tolist() == [1.0, 1.0]
    assert icepop_weight(logp, logp).tolist() == [1.0, 1.0]
    assert torch.equal(
        sequence_mask(logp, logp, integers([0, 1]), integers([1, 1]), 0.99, 1.01),
        torch.tensor([True, True]),
    )


def test_unusable_engine_logprobs_are_an_error_and_never_a_mask() -> None:
    logp, behaviour = vector([-1.0, -1.0]), vector([-1.0, math.nan])
    with pytest.raises(NumericsError, match=r"behaviour_logp\[1\] is nan"):
        sequence_mask(logp, behaviour, integers([0, 0]), integers([2]), 0.5, 2.0)
