"""The search finds the cheapest settings, and does not take noise for gain."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from medray.planning.search import Costs, Values, knobs, search
from medray.planning.tuned import BATCH, BLOCK, LEARNER_THREADS, ROLLOUT_THREADS

START = {LEARNER_THREADS: 8, ROLLOUT_THREADS: 8, BLOCK: 32, BATCH: 4096}


def _cost(values: Values, factors: Mapping[str, Mapping[int, float]]) -> Costs:
    """Seconds of a rollout and an update that are products of a factor a setting."""
    rollout = update = 1.0
    for key, known in factors.items():
        factor = known.get(values[key], 1.0)
        rollout, update = (
            (rollout, update * factor) if key == LEARNER_THREADS else (rollout * factor, update)
        )
    return {"rollout": rollout, "update": update, "step": rollout + update}


def test_each_phase_takes_its_own_best() -> None:
    factors = {LEARNER_THREADS: {4: 1.2}, ROLLOUT_THREADS: {4: 0.8}, BLOCK: {64: 0.9, 128: 0.7}}
    best, measured = search(
        START, knobs(START, 8, ahead=False), lambda values: _cost(values, factors)
    )
    assert best == START | {ROLLOUT_THREADS: 4, BLOCK: 128}
    assert measured["saved"] == pytest.approx(1 - (0.8 * 0.7 + 1) / 2)


def test_a_gain_within_the_noise_changes_nothing() -> None:
    factors = {ROLLOUT_THREADS: {4: 0.98}, BLOCK: {64: 0.99}}
    best, measured = search(
        START, knobs(START, 8, ahead=False), lambda values: _cost(values, factors)
    )
    assert (best, measured["saved"]) == (START, 0.0)


def test_a_winner_that_does_not_win_again_is_dropped() -> None:
    seen: list[Values] = []

    def measure(values: Values) -> Costs:
        lucky = values[BLOCK] == 64 and values not in seen
        seen.append(values)
        return {"rollout": 0.5 if lucky else 1.0, "update": 1.0, "step": 1.5 if lucky else 2.0}

    best, _ = search(START, knobs(START, 8, ahead=False), measure)
    assert best == START
    assert seen.count(START | {BLOCK: 64}) == 2


def test_sides_that_compute_at_once_are_given_shares_of_the_cores() -> None:
    half = START | {LEARNER_THREADS: 4, ROLLOUT_THREADS: 4}
    threads = knobs(half, 8, ahead=True)[0]
    assert {(c[LEARNER_THREADS], c[ROLLOUT_THREADS]) for c in threads.choices} == {
        (6, 2),
        (4, 4),
        (2, 6),
        (8, 8),
    }
    assert threads.phase == "step"


@pytest.mark.parametrize("ahead", [False, True])
def test_one_core_leaves_nothing_to_divide(ahead: bool) -> None:
    one = START | {LEARNER_THREADS: 1, ROLLOUT_THREADS: 1}
    tried: list[Values] = []

    def measure(values: Values) -> Costs:
        tried.append(values)
        return {"rollout": 1.0, "update": 1.0, "step": 2.0}

    search(one, knobs(one, 1, ahead=ahead), measure)
    assert {(v[LEARNER_THREADS], v[ROLLOUT_THREADS]) for v in tried} == {(1, 1)}
