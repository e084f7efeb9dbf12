from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.data.batches.stream import PromptStream
from medray.errors import DataError
from medray.types import Prompt, Record


def prompts(count: int) -> list[Prompt]:
    return [Prompt(Record(id=str(i), messages=()), np.array([i], np.int32)) for i in range(count)]


def ids(taken: tuple[Prompt, ...]) -> list[str]:
    return [p.record.id for p in taken]


@given(
    count=st.integers(1, 12),
    seed=st.integers(-(2**40), 2**40),
    takes=st.lists(st.integers(0, 15), min_size=1, max_size=8),
    cut=st.integers(0, 60),
)
def test_resuming_anywhere_equals_the_undisturbed_stream(
    count: int, seed: int, takes: list[int], cut: int
) -> None:
    total = cut + sum(takes)
    undisturbed = ids(PromptStream(prompts(count), seed).take(total))
    resumed = PromptStream(prompts(count), seed, position=cut)
    pieces = [ids(resumed.take(n)) for n in takes]
    assert list(itertools.chain(*pieces)) == undisturbed[cut:]
    assert resumed.position == total


@given(count=st.integers(1, 20), seed=st.integers(), epochs=st.integers(1, 4))
def test_every_epoch_is_a_permutation(count: int, seed: int, epochs: int) -> None:
    taken = ids(PromptStream(prompts(count), seed).take(count * epochs))
    for epoch in range(epochs):
        assert sorted(taken[epoch * count : (epoch + 1) * count], key=int) == [
            str(i) for i in range(count)
        ]


def test_orders_differ_between_epochs_and_seeds() -> None:
    first = ids(PromptStream(prompts(30), 1).take(60))
    assert first[:30] != first[30:]
    assert first != ids(PromptStream(prompts(30), 2).take(60))


def test_a_take_may_exceed_an_epoch() -> None:
    stream = PromptStream(prompts(3), 0)
    taken = ids(stream.take(8))
    assert sorted(taken[:3]) == sorted(taken[3:6]) == ["0", "1", "2"]
    assert stream.position == 8
    assert stream.epoch == pytest.approx(8 / 3)


def test_known_order_pins_resumes_across_versions() -> None:
    # Checkpoints store a position only, so this order must never change.
    assert "".join(ids(PromptStream(prompts(5), 17).take(10))) == "3024140123"


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"no prompts: check data\.path"):
        PromptStream([], 0)
    with pytest.raises(ValueError, match="position is -1"):
        PromptStream(prompts(1), 0, position=-1)
    with pytest.raises(ValueError, match="cannot take -1"):
        PromptStream(prompts(1), 0).take(-1)
