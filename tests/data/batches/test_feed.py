"""Which rows a step takes: every row once an epoch, the same whatever the ranks, no state."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config.supervised import BatchConfig
from medray.data.batches.feed import NOTHING, StepFeed, Taken
from medray.data.batches.tree_table import TreeTable
from medray.data.batches.trees import sequence_tree
from medray.errors import DataError


def _rows(sizes: list[int]) -> TreeTable:
    return TreeTable.of(sequence_tree(np.full(size, i)) for i, size in enumerate(sizes))


def _numbers(feed: StepFeed, step: int, ranks: int) -> list[list[int]]:
    return [
        [int(tree.continuations[0].token_ids[0]) for tree in feed.step(step, rank, ranks)]
        for rank in range(ranks)
    ]


@given(
    st.lists(st.integers(2, 9), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 3),
    st.booleans(),
)
def test_an_epoch_takes_every_row_once_whatever_the_ranks(
    sizes: list[int], rows_per_step: int, ranks: int, shuffle: bool
) -> None:
    batch = BatchConfig(rows_per_step=rows_per_step, num_epochs=2, shuffle=shuffle)
    feed = StepFeed(_rows(sizes), batch, seed=3)
    taken: list[int] = []
    for step in range(1, feed.num_steps + 1):
        dealt = _numbers(feed, step, ranks)
        together = [n for part in dealt for n in part]
        assert sorted(together) == sorted(n for part in _numbers(feed, step, 1) for n in part)
        assert feed.num_tokens(step) == sum(sizes[n] for n in together)
        taken += together
    assert Counter(taken) == dict.fromkeys(range(len(sizes)), 2)
    assert feed.epoch(feed.num_steps) == 2


@pytest.mark.parametrize(
    ("num_rows", "batch", "sizes"),
    [
        (17, {"num_epochs": 1}, [8, 8, 1]),
        (17, {"num_epochs": 2}, [8, 8, 8, 8, 2]),
        (16, {"num_epochs": 1}, [8, 8]),
        (17, {"num_epochs": 0.5}, [8, 1]),
        (3, {"num_epochs": 1}, [3]),
        (10, {"num_epochs": 0.3}, [3]),
        (3, {"num_epochs": 0.01}, [1]),
        (17, {"num_steps": 3}, [8, 8, 8]),
    ],
)
def test_the_last_step_takes_what_is_left(
    num_rows: int, batch: dict[str, float], sizes: list[int]
) -> None:
    feed = StepFeed(
        _rows([3] * num_rows), BatchConfig.model_validate({"rows_per_step": 8, **batch}), 3
    )
    steps = range(1, feed.num_steps + 1)
    assert [len(feed.step(step, 0, 1)) for step in steps] == sizes
    assert [feed.num_tokens(step) for step in steps] == [3 * size for size in sizes]
    assert feed.epoch(feed.num_steps) == sum(sizes) / num_rows


@given(
    st.integers(1, 20),
    st.integers(1, 8),
    st.lists(st.floats(0.1, 2.0), min_size=1, max_size=3),
    st.booleans(),
)
def test_more_epochs_after_a_short_step_take_every_row_once_an_epoch(
    num_rows: int, rows_per_step: int, more: list[float], shuffle: bool
) -> None:
    """A run that has ended is continued again and again, at the end with whole passes."""
    taken, numbers, epochs = NOTHING, list[int](), 0.0
    for extra in (*more, math.ceil(sum(more)) - sum(more) + 1):
        epochs += extra
        batch = BatchConfig(rows_per_step=rows_per_step, num_epochs=epochs, shuffle=shuffle)
        feed = StepFeed(_rows([3] * num_rows), batch, 3, taken)
        for step in range(taken.step + 1, feed.num_steps + 1):
            numbers += _numbers(feed, step, 1)[0]
        assert feed.rows_after(feed.num_steps) == len(numbers)
        assert StepFeed(_rows([3] * num_rows), batch, 3, _after(feed)).num_steps == feed.num_steps
        taken = _after(feed)
    whole = Counter(numbers)
    assert set(whole.values()) == {round(epochs)}
    assert len(whole) == num_rows


def _after(feed: StepFeed) -> Taken:
    return Taken(feed.num_steps, feed.rows_after(feed.num_steps))


def test_a_raised_number_of_epochs_begins_with_the_row_after_the_last_one() -> None:
    rows = _rows([3] * 17)
    first = StepFeed(rows, BatchConfig(rows_per_step=8, num_epochs=1, shuffle=False), 3)
    assert _numbers(first, 3, 1)[0] == [16]
    batch = BatchConfig(rows_per_step=8, num_epochs=2, shuffle=False)
    more = StepFeed(rows, batch, 3, Taken(3, first.rows_after(3)))
    assert [_numbers(more, step, 1)[0] for step in (4, 5, 6)] == [
        list(range(8)),
        list(range(8, 16)),
        [16],
    ]
    assert more.num_steps == 6
    assert [more.epoch(step) for step in (4, 6)] == [25 / 17, 2]
    kept = StepFeed(rows, batch, 3, Taken(2, 16))
    assert _numbers(kept, 3, 1)[0] == [16, *range(7)], "from an earlier checkpoint"


def test_the_order_is_drawn_anew_and_needs_no_past() -> None:
    batch = BatchConfig(rows_per_step=8, num_epochs=3)
    feed = StepFeed(_rows([3] * 8), batch, seed=3)
    first, second, _ = (_numbers(feed, step, 1)[0] for step in (1, 2, 3))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(8))
    assert _numbers(StepFeed(_rows([3] * 8), batch, seed=3), 2, 1)[0] == second
    assert _numbers(StepFeed(_rows([3] * 8), batch, seed=4), 2, 1)[0] != second
    still = StepFeed(_rows([3] * 8), BatchConfig(rows_per_step=8, shuffle=False), seed=3)
    assert _numbers(still, 1, 1)[0] == list(range(8))


def test_no_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="no row to train on"):
        StepFeed(_rows([]), BatchConfig(), seed=0)
