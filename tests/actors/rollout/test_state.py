"""The life of a worker: it serves only after it has been stale, and it is stale only while it lives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.actors.rollout.state import State, advance


def test_a_dead_worker_comes_back_through_starting_and_stale() -> None:
    state = State.SERVING
    for step in (State.DEAD, State.STARTING, State.STALE, State.SERVING):
        state = advance(state, step)
    assert state is State.SERVING


@pytest.mark.parametrize(
    ("now", "to"),
    [
        (State.DEAD, State.SERVING),
        (State.STARTING, State.SERVING),
        (State.DEAD, State.STALE),
    ],
)
def test_shortcuts_are_refused(now: State, to: State) -> None:
    with pytest.raises(AssertionError, match="cannot become"):
        advance(now, to)


@given(st.lists(st.sampled_from(list(State)), max_size=30))
def test_serving_is_always_reached_from_stale(wanted: list[State]) -> None:
    state, before = State.STARTING, State.STARTING
    for to in wanted:
        try:
            before, state = state, advance(state, to)
        except AssertionError:
            continue
        assert state is not State.SERVING or before is State.STALE
