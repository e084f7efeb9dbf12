import statistics

import pytest
from golden.compare import light
from hypothesis import given
from hypothesis import strategies as st

from medray.losses.moments import Moments, merged

parts = st.lists(st.lists(st.floats(-100, 100), max_size=6), max_size=5)


def test_golden() -> None:
    """1, 3 and 8: mean 4, squared deviations 9 + 1 + 16 = 26, variance 13."""
    moments = Moments.of([1.0, 3.0]).merge(Moments.of([8.0]))
    assert (moments.count, moments.mean, moments.squares) == (3, 4.0, 26.0)
    assert moments.variance == 13.0


@light
@given(parts=parts)
def test_parts_merge_to_the_whole(parts) -> None:
    whole = [v for part in parts for v in part]
    moments = merged(Moments.of(part) for part in parts)
    assert moments.count == len(whole)
    if whole:
        assert moments.mean == pytest.approx(statistics.fmean(whole), abs=1e-9)
    if len(whole) > 1:
        assert moments.variance == pytest.approx(statistics.variance(whole), abs=1e-7)
    else:
        assert moments.std == 0.0
