"""Prompts drawn by their pass rates: weights, replay, filtering, and streams that continue exactly."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.config.curriculum import CurriculumConfig
from medray.data.batches.curriculum import CurriculumStream
from medray.errors import DataError
from medray.types import Prompt, Record


def _prompts(count: int) -> tuple[Prompt, ...]:
    return tuple(Prompt(Record(str(i), ()), np.arange(4, dtype=np.int32)) for i in range(count))


PROMPTS = _prompts(12)


def _stream(
    *, prompts: tuple[Prompt, ...] = PROMPTS, apart: int = 3, position: int = 0, seed: int = 1,
    state: Any = None, **keys: Any,
) -> CurriculumStream:  # fmt: skip
    config = CurriculumConfig(**keys)
    return CurriculumStream(prompts, seed, position, config=config, apart=apart, state=state)


def _ids(prompts: tuple[Prompt, ...]) -> list[int]:
    return [int(prompt.record.id) for prompt in prompts]


def _rates(stream: CurriculumStream) -> dict[int, tuple[float, int]]:
    return {i: (rate, n) for i, rate, n in stream.state_from(0)["curriculum"]["rates"]}


def test_golden_running_rate() -> None:
    """The first sample is the rate itself, 1/4; then with a momentum of 3/4 a full pass gives 3/16 + 1/4 = 7/16."""
    stream = _stream(momentum=0.75)
    stream.observe([(PROMPTS[5], [1.0, 0.0, 0.5, 0.2])])
    assert _rates(stream) == {5: (0.25, 1)}, "a reward of the threshold does not pass"
    stream.observe([(PROMPTS[5], [1.0, 0.9])])
    assert _rates(stream) == {5: (0.4375, 2)}


def test_prompts_are_drawn_in_proportion_to_their_learnability() -> None:
    """Rates 0, 1/2, 3/4, 1 weigh 0.1, 1, 0.1 + 0.9 * 3/4 = 0.775 and 0.1, together 1.975."""
    prompts = _prompts(4)
    stream = _stream(prompts=prompts, apart=0, floor=0.1)
    passes = [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    stream.observe(zip(prompts, passes, strict=True))
    drawn = Counter(_ids(stream.take(20_000)))
    shares = [drawn[i] / 20_000 for i in range(4)]
    assert shares == pytest.approx([0.1 / 1.975, 1 / 1.975, 0.775 / 1.975, 0.1 / 1.975], abs=0.012)


@settings(deadline=None, max_examples=40)
@given(apart=st.integers(0, 11), seed=st.integers(0, 99))
def test_a_prompt_does_not_return_among_the_draws_in_flight(apart: int, seed: int) -> None:
    drawn = _ids(_stream(apart=apart, seed=seed).take(60))
    for at, prompt in enumerate(drawn):
        assert prompt not in drawn[max(0, at - apart) : at]


def test_fewer_prompts_than_are_in_flight_are_drawn_again() -> None:
    assert set(_ids(_stream(prompts=PROMPTS[:2], apart=8).take(40))) == {0, 1}


def test_hard_prompts_are_replayed() -> None:
    """Two of twelve prompts nearly never pass: alone they would be one draw in 70, with replay they are over half."""

    def share(replay: float) -> float:
        stream = _stream(apart=0, replay=replay, floor=0.05)
        stream.observe((p, [0.0] * 4) for p in PROMPTS[:2])
        return sum(i < 2 for i in _ids(stream.take(4000))) / 4000

    assert share(0.0) == pytest.approx(0.1 / 10.1, abs=0.01)
    assert share(0.6) == pytest.approx(0.6 + 0.4 * 0.1 / 10.1, abs=0.03)


def test_replay_waits_until_a_prompt_is_known_to_be_hard() -> None:
    plain, replayed = _stream(apart=0), _stream(apart=0, replay=0.9)
    assert _ids(plain.take(50)) == _ids(replayed.take(50))


def test_prompts_outside_the_bounds_are_left_out() -> None:
    stream = _stream(measure=4, low=0.25, high=0.75)
    stream.observe((p, [1.0] * (i % 3) + [0.0] * (2 - i % 3)) for i, p in enumerate(PROMPTS))
    assert stream.leave_out() == 8
    assert {i % 3 for i in _ids(stream.take(300))} == {1}
    assert stream.metrics()["curriculum/left_out"] == 8
    # A later rate does not bring one back, nor take one out.
    stream.observe([(PROMPTS[0], [1.0, 0.0]), (PROMPTS[1], [0.0, 0.0])])
    assert {0, 1} & set(_ids(stream.take(500))) == {1}


def test_no_prompt_left_is_an_error() -> None:
    stream = _stream(measure=2, low=0.5)
    stream.observe((p, [0.0, 0.0]) for p in PROMPTS)
    with pytest.raises(DataError, match=r"outside \[0.5, 1\].*widen curriculum.low"):
        stream.leave_out()


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=8),
    cut=st.integers(1, 7),
    pending=st.integers(0, 4),
    seed=st.integers(0, 9),
)
def test_a_resumed_stream_draws_what_an_undisturbed_one_would(
    steps: list[tuple[int, int]], cut: int, pending: int, seed: int
) -> None:
    """Also where the last draws before the checkpoint are taken again, as asynchronous runs do with pending ones."""
    keys: dict[str, Any] = {"seed": seed, "replay": 0.3}

    def play(stream: CurriculumStream, part: list[tuple[int, int]]) -> list[int]:
        drawn: list[int] = []
        for count, passing in part:
            prompts = stream.take(count)
            drawn += _ids(prompts)
            stream.observe((p, [1.0] * passing + [0.0] * (3 - passing)) for p in prompts)
        return drawn

    whole = _stream(**keys)
    expected = play(whole, steps)
    first = _stream(**keys)
    before = play(first, steps[:cut])
    back = min(pending, first.position)
    state = json.loads(json.dumps(first.state_from(first.position - back)))["curriculum"]
    resumed = _stream(**keys, position=first.position - back, state=state)
    assert _ids(resumed.take(back)) == before[len(before) - back :]
    assert before + play(resumed, steps[cut:]) == expected
    assert resumed.state_from(resumed.position) == whole.state_from(whole.position)
