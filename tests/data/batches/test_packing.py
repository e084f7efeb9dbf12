"""Rows hold every token once, in the order that shared-prefix attention expects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.data.batches.packing import balance, build_row, pack
from medray.errors import DataError
from medray.types import Continuation, PromptTree
from tests.support.trees import random_tree, unshare

shapes = st.lists(
    st.tuples(st.integers(1, 20), st.lists(st.integers(1, 12), min_size=1, max_size=5)),
    min_size=1,
    max_size=8,
)


def _trees(shape: list[tuple[int, list[int]]], seed: int = 0) -> list[PromptTree]:
    rng = np.random.default_rng(seed)
    return [random_tree(rng, prompt, lengths) for prompt, lengths in shape]


def test_row_by_hand() -> None:
    """[10 11 | 20]: the prompt's last token predicts both heads, and nothing reads what 21 and 30 would compute."""
    tree = PromptTree(
        np.array([10, 11], np.int32),
        (
            Continuation(
                np.array([20, 21], np.int32),
                np.array([True, True]),
                {"a": np.array([1, 2], np.float32)},
            ),
            Continuation(
                np.array([30], np.int32), np.array([True]), {"a": np.array([3], np.float32)}
            ),
        ),
    )
    row = build_row([tree])
    assert row.token_ids.tolist() == [10, 11, 20]
    assert row.position_ids.tolist() == [0, 1, 2]
    assert row.predictors.tolist() == [1, 2, 1]
    assert row.targets.tolist() == [20, 21, 30]
    assert row.sequence_index.tolist() == [0, 0, 1]
    assert row.sequence_lengths.tolist() == [2, 1]
    assert row.columns["a"].tolist() == [1, 2, 3]
    assert [own.tolist() for own in row.spans[0].continuations] == [[2], []]
    whole = build_row([tree], whole=True)
    assert whole.token_ids.tolist() == [10, 11, 20, 21, 30]
    assert whole.position_ids.tolist() == [0, 1, 2, 3, 2]
    assert [own.tolist() for own in whole.spans[0].continuations] == [[2, 3], [4]]


def test_what_sequences_begin_with_is_there_once() -> None:
    """Prompts [1 2 3] and [1 2 4]; the continuations [7 8 5], [7 9 5], [7 8 6] of the first have a 7 and an 8 in
    common."""

    def tree(prompt: list[int], *continuations: list[int]) -> PromptTree:
        own = (np.array(c, np.int32) for c in continuations)
        return PromptTree(
            np.array(prompt, np.int32),
            tuple(Continuation(c, np.ones(len(c), np.bool_)) for c in own),
        )

    trees = [tree([1, 2, 3], [7, 8, 5], [7, 9, 5], [7, 8, 6]), tree([1, 2, 4], [7, 8])]
    row = build_row(trees)
    assert row.token_ids.tolist() == [1, 2, 3, 4, 7, 7, 8, 9]
    assert row.position_ids.tolist() == [0, 1, 2, 2, 3, 3, 4, 4]
    first, second = row.spans
    assert (first.prompt.tolist(), second.prompt.tolist()) == ([0, 1, 2], [0, 1, 3])
    assert [own.tolist() for own in first.continuations] == [[5, 6], [5, 7], [5, 6]]
    assert [own.tolist() for own in second.continuations] == [[4]]
    assert row.predictors.tolist() == [2, 5, 6, 2, 5, 7, 2, 5, 6, 3, 4]
    assert len(build_row(trees, merge=False).token_ids) == 3 + 2 + 2 + 2 + 3 + 1


@given(shape=shapes, seed=st.integers(0, 2**16), whole=st.booleans())
@settings(max_examples=100, deadline=None)
def test_rows_are_prefix_trees(shape: list[tuple[int, list[int]]], seed: int, whole: bool) -> None:
    """Every path spells its sequence, predictors precede their targets, and no beginning is there twice."""
    rng = np.random.default_rng(seed)
    trees = [random_tree(rng, prompt, lengths, vocabulary=5) for prompt, lengths in shape]
    row = build_row(trees, whole=whole)
    paths, predictors = row.paths(), iter(row.predictors)
    stems: set[tuple[int, ...]] = set()
    num_branches = 0
    for tree in trees:
        branches: set[tuple[int, ...]] = set()
        for continuation in tree.continuations:
            path = next(paths)
            own = continuation.token_ids if whole else continuation.token_ids[:-1]
            expected = [*tree.prompt_ids.tolist(), *own.tolist()]
            assert row.token_ids[path].tolist() == expected
            assert row.position_ids[path].tolist() == list(range(len(path)))
            for at in range(len(continuation.token_ids)):
                assert next(predictors) == path[len(tree.prompt_ids) + at - 1]
            if len(tree.continuations) > 1:
                branches |= {tuple(own[: n + 1]) for n in range(len(own))}
                expected = tree.prompt_ids.tolist()
            stems |= {tuple(expected[: n + 1]) for n in range(len(expected))}
        num_branches += len(branches)
    assert len(row.token_ids) == len(stems) + num_branches


def test_untrained_tokens_are_computed_but_not_targets() -> None:
    """A tool's output inside a continuation is context only."""
    ids = np.array([5, 6, 7, 8], np.int32)
    row = build_row(
        [
            PromptTree(
                np.array([1], np.int32), (Continuation(ids, np.array([True, False, False, True])),)
            )
        ]
    )
    assert row.targets.tolist() == [5, 8]
    assert row.predictors.tolist() == [0, 3]


def test_first_token_without_a_prompt_cannot_be_trained() -> None:
    tree = PromptTree(
        np.zeros(0, np.int32), (Continuation(np.array([4, 5], np.int32), np.array([True, True])),)
    )
    with pytest.raises(DataError, match="without a prompt"):
        build_row([tree])


@given(shape=shapes, budget=st.integers(8, 80), shared=st.booleans())
@settings(max_examples=60, deadline=None)
def test_packing_keeps_every_continuation_once_within_the_budget(
    shape: list[tuple[int, list[int]]], budget: int, shared: bool
) -> None:
    trees = _trees(shape)
    rows = pack(trees, budget, shared=shared)
    packed = sorted(tuple(c.token_ids) for row in rows for tree in row for c in tree.continuations)
    assert packed == sorted(tuple(c.token_ids) for tree in trees for c in tree.continuations)
    for row in rows:
        lone = len(row) == 1 and len(row[0].continuations) == 1
        computed = sum(tree.num_tokens for tree in (row if shared else unshare(row)))
        assert computed <= budget or lone


@given(shape=shapes)
@settings(max_examples=30, deadline=None)
def test_without_splitting_trees_stay_whole(shape: list[tuple[int, list[int]]]) -> None:
    trees = _trees(shape)
    rows = pack(trees, 10, split=False)
    assert sorted(len(t.continuations) for row in rows for t in row) == sorted(
        len(t.continuations) for t in trees
    )


def test_unshare_gives_every_continuation_its_own_prompt() -> None:
    [tree] = _trees([(3, [2, 4])])
    assert [(len(t.prompt_ids), len(t.continuations)) for t in unshare([tree])] == [(3, 1), (3, 1)]


@given(sizes=st.lists(st.integers(1, 1000), max_size=40), ranks=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_balance_deals_every_index_once_and_evenly(sizes: list[int], ranks: int) -> None:
    shares = balance(sizes, ranks)
    assert sorted(i for share in shares for i in share) == list(range(len(sizes)))
    loads = [sum(sizes[i] for i in share) for share in shares]
    assert max(loads) - min(loads) <= max(sizes, default=0)
