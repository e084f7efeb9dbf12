"""The life of a rollout worker as a state machine: pure, so that every path is tested without a cluster."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a worker stands. Only a serving one gets prompts."""

    STARTING = "starting"  # its process and model are coming up
    STALE = "stale"  # it is up, but does not hold the newest verified weights
    SERVING = "serving"
    DEAD = "dead"


_ALLOWED = {
    State.STARTING: {State.STALE, State.DEAD},
    State.STALE: {State.SERVING, State.DEAD},
    State.SERVING: {State.STALE, State.DEAD},
    State.DEAD: {State.STARTING},
}


def advance(now: State, to: State) -> State:
    """The state after a transition.

    A dead worker comes back only through starting and stale: it serves again once it has proved the newest weights.

    Raises:
        AssertionError: the transition does not exist.
    """
    assert to in _ALLOWED[now], f"a {now.value} worker cannot become {to.value}"
    return to
