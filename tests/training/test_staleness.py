"""The age limit holds in every order of arrival, costs no group, and never leaves the run without a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.training.staleness import Waiting, choose


def test_without_lag_batches_come_in_order_and_whole() -> None:
    waiting = [Waiting(i, 5, ready=i != 1) for i in range(3)]
    assert choose(waiting, 3, version=5, max_lag=0) is None
    waiting[1] = Waiting(1, 5, ready=True)
    assert choose(waiting, 3, version=5, max_lag=0) == [0, 1, 2]


def test_a_slow_group_is_passed_over_while_there_is_time() -> None:
    """Two a batch, one version of lag: group 0 may wait for the next batch, but not for the one after it."""
    waiting = [Waiting(0, 0, ready=False), *(Waiting(i, 0, ready=True) for i in (1, 2, 3))]
    assert choose(waiting, 2, version=0, max_lag=1) == [1, 2]
    left = [waiting[0], waiting[3], Waiting(4, 1, ready=True), Waiting(5, 1, ready=True)]
    assert choose(left, 2, version=1, max_lag=1) is None
    left[0] = Waiting(0, 0, ready=True)
    assert choose(left, 2, version=1, max_lag=1) == [0, 1]


def test_two_slow_groups_that_only_one_batch_can_still_take() -> None:
    """One a batch: group 0 is due at version 2, and so is 1, so one of them must go now."""
    waiting = [Waiting(0, 0, ready=False), Waiting(1, 0, ready=False), Waiting(2, 1, ready=True)]
    assert choose(waiting, 1, version=1, max_lag=2) is None
    waiting[1] = Waiting(1, 0, ready=True)
    assert choose(waiting, 1, version=1, max_lag=2) == [1]


@given(
    size=st.integers(1, 4), max_lag=st.integers(0, 4), data=st.data(), num_batches=st.integers(1, 8)
)
@pytest.mark.filterwarnings("ignore")
def test_any_order_of_arrival(
    size: int, max_lag: int, data: st.DataObject, num_batches: int
) -> None:
    waiting: list[Waiting] = []
    asked, trained = 0, []
    for version in range(num_batches):
        while len(waiting) < size * (max_lag + 1):
            waiting.append(Waiting(asked, version, ready=False))
            asked += 1
        while (chosen := choose(waiting, size, version, max_lag)) is None:
            late = [i for i, w in enumerate(waiting) if not w.ready]
            assert late, "no batch although every group is ready"
            i = data.draw(st.sampled_from(late))
            waiting[i] = Waiting(waiting[i].position, waiting[i].version, ready=True)
        assert len(chosen) == size
        for i in chosen:
            assert waiting[i].ready
            assert version - waiting[i].version <= max_lag
        trained += [waiting[i].position for i in chosen]
        waiting = [w for i, w in enumerate(waiting) if i not in chosen]
        if max_lag == 0:
            assert trained == sorted(trained)
    assert len(set(trained)) == len(trained) == size * num_batches
