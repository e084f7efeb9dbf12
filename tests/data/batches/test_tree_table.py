"""Trees laid out flat come back as they were."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.data.batches.tree_table import TreeTable
from medray.types import Continuation, PromptTree


def _ids(tokens: list[int]) -> np.ndarray:
    return np.asarray(tokens, dtype=np.int32)


@st.composite
def continuations(draw: st.DrawFn) -> Continuation:
    ids = _ids(draw(st.lists(st.integers(0, 99), min_size=1, max_size=5)))
    trained = np.asarray(draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))))
    value = draw(st.floats(-2, 2, width=32))
    labels = draw(st.lists(st.floats(0, 1, width=32), min_size=len(ids), max_size=len(ids)))
    columns = {
        "margin": np.full(len(ids), value, dtype=np.float32),
        "step_label": np.asarray(labels, dtype=np.float32),
    }
    return Continuation(ids, trained, columns)


trees = st.builds(
    lambda prompt, parts: PromptTree(_ids(prompt), tuple(parts)),
    st.lists(st.integers(0, 99), max_size=4),
    st.lists(continuations(), min_size=1, max_size=3),
)


@given(st.lists(trees, max_size=5))
def test_every_tree_comes_back(made: list[PromptTree]) -> None:
    table: TreeTable = pickle.loads(pickle.dumps(TreeTable.of(iter(made))))
    assert len(table) == len(made)
    assert table.num_tokens.tolist() == [tree.num_tokens for tree in made]
    assert table.num_trained == sum(int(c.trained.sum()) for t in made for c in t.continuations)
    for tree, back in zip(made, table[:], strict=True):
        np.testing.assert_array_equal(back.prompt_ids, tree.prompt_ids)
        for one, other in zip(tree.continuations, back.continuations, strict=True):
            np.testing.assert_array_equal(other.token_ids, one.token_ids)
            np.testing.assert_array_equal(other.trained, one.trained)
            for name, column in one.columns.items():
                np.testing.assert_array_equal(other.columns[name], column)


def test_there_is_no_tree_beyond_the_last() -> None:
    with pytest.raises(IndexError, match="tree 0 of 0"):
        TreeTable.of([])[0]
