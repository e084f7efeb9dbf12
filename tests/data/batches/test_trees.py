"""Trees for preferences: order, columns, and who is paired with whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medray.data.batches.trees import count, labelled_tree, pair_tree, with_mismatched
from medray.errors import DataError
from medray.types import Continuation, PromptTree, StepTotals


def _ids(*ids: int) -> np.ndarray:
    return np.array(ids, np.int32)


def _response(*ids: int) -> Continuation:
    return Continuation(_ids(*ids), np.ones(len(ids), np.bool_))


def _labelled(prompt: int, *responses: tuple[int, bool]) -> PromptTree:
    return labelled_tree(_ids(prompt), [(_response(r, 9), good) for r, good in responses])


def test_pair_by_hand() -> None:
    tree = pair_tree(_ids(1, 2), _response(3), _response(4, 5), margin=0.5)
    assert [c.token_ids.tolist() for c in tree.continuations] == [[3], [4, 5]]
    assert [c.columns["margin"].tolist() for c in tree.continuations] == [[0.5], [0.5, 0.5]]


def test_mismatched_responses_come_from_the_next_other_prompt() -> None:
    """Prompts 1, 1, 2: both of prompt 1 are paired with the response to 2, which gets the first one's."""
    trees = with_mismatched(
        [_labelled(1, (10, True)), _labelled(1, (11, False), (12, True)), _labelled(2, (20, False))]
    )
    firsts = [[int(c.token_ids[0]) for c in tree.continuations] for tree in trees]
    assert firsts == [[10, 20], [11, 12, 20], [20, 10]]
    flags = [[c.columns["mismatched"].tolist() for c in tree.continuations] for tree in trees]
    assert flags == [[[0, 0], [1, 1]], [[0, 0], [0, 0], [1, 1]], [[0, 0], [1, 1]]]
    labels = [[float(c.columns["desirable"][0]) for c in tree.continuations] for tree in trees]
    assert labels == [[1, 0], [0, 1, 0], [0, 0]]


def test_mismatched_responses_are_cut_to_the_longest_sequence() -> None:
    long = Continuation(
        _ids(*range(30, 42)), np.arange(12) >= 1, {"desirable": np.ones(12, np.float32)}
    )
    short = _labelled(1, (10, True))
    trees = [replace(short, prompt_ids=_ids(*range(8))), PromptTree(_ids(2), (long,))]
    whole, cut = with_mismatched(trees), with_mismatched(trees, max_tokens=14)
    assert [c.token_ids.size for c in whole[0].continuations] == [2, 12]
    assert [c.token_ids.tolist() for c in cut[0].continuations] == [[10, 9], [*range(30, 36)]]
    assert cut[0].continuations[1].trained.tolist() == [False, *[True] * 5]
    assert cut[0].continuations[1].columns["mismatched"].tolist() == [1.0] * 6
    assert [c.token_ids.size for c in cut[1].continuations] == [12, 2]
    nothing_left = with_mismatched(trees, max_tokens=8)[0].continuations[1]
    assert nothing_left.trained.tolist() == [False, True]  # as long as the row's own response


def test_one_prompt_alone_cannot_be_mismatched() -> None:
    with pytest.raises(DataError, match="reference_point=zero"):
        with_mismatched([_labelled(1, (10, True)), _labelled(1, (11, False))])


def test_count_is_of_trained_tokens() -> None:
    partly = Continuation(_ids(1, 2, 3), np.array([False, True, True]))
    assert count([PromptTree(_ids(7), (partly, _response(4)))]) == StepTotals(3, 2, 1)
    assert count([]) == StepTotals(0, 0, 0)
