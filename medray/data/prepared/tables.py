"""Trees as Arrow columns, one row a tree, and back without a copy.

| column | |
| --- | --- |
| `token_ids` | the prompt's tokens, then those of each continuation |
| `trained` | for each token, whether the loss counts it; False in prompts |
| `num_prompt_tokens` | where the first continuation begins |
| `lengths` | tokens of each continuation |
| `step_label` | a number for each token |
| any other name | a number for each continuation, such as `margin` or `desirable` |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medray.data.batches.trees import PER_TOKEN, per_token
from medray.types import Column, Continuation, Floats, PromptTree

Counts = npt.NDArray[np.int64]

ID, BUNDLE = "id", "bundle"
TREE = ("token_ids", "trained", "num_prompt_tokens", "lengths")
"""Columns that every tree has; what else there is belongs to the stage."""


def tree_columns(trees: Sequence[PromptTree], names: Sequence[str]) -> dict[str, Any]:
    """Arrow arrays by column, a row a tree.

    Args:
        trees: in order.
        names: columns of the continuations; a continuation has each of them, with one value for all its tokens but for
            `trees.PER_TOKEN`.
    """
    tokens, masks, sizes, lengths = [], [], [], list[int]()
    values: dict[str, list[Column]] = {name: [] for name in names}
    for tree in trees:
        tokens.append(tree.prompt_ids)
        masks.append(np.zeros(len(tree.prompt_ids), dtype=np.bool_))
        for continuation in tree.continuations:
            tokens.append(continuation.token_ids)
            masks.append(continuation.trained)
            lengths.append(len(continuation.token_ids))
            for name in set(names) - PER_TOKEN:
                values[name].append(continuation.columns[name][:1])
        for name, column in per_token(tree).items():
            values[name].append(column)
        sizes.append(tree.num_tokens)
    starts = _offsets(sizes)
    firsts = _offsets([len(tree.continuations) for tree in trees])
    columns = {
        "token_ids": pa.ListArray.from_arrays(starts, pa.array(_joined(tokens, np.int32))),
        "trained": pa.ListArray.from_arrays(starts, pa.array(_joined(masks, np.bool_))),
        "num_prompt_tokens": pa.array([len(t.prompt_ids) for t in trees], pa.int32()),
        "lengths": pa.ListArray.from_arrays(firsts, pa.array(lengths, pa.int32())),
    }
    for name in names:
        offsets = starts if name in PER_TOKEN else firsts
        column = pa.array(_joined(values[name], np.float32))
        columns[name] = pa.ListArray.from_arrays(offsets, column)
    return columns


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Arrow file of one batch, uncompressed, so that reading it copies nothing."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for batch in table.combine_chunks().to_batches():
            writer.write_batch(batch)


class TreeShard:
    """The trees of one file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            OSError, pa.ArrowInvalid: the file is missing or damaged.
        """
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        columns = {name: table.column(name).chunk(0) for name in table.column_names}
        self._tokens = columns["token_ids"].values.to_numpy()
        self._trained = columns["trained"].values
        self._starts = columns["token_ids"].offsets.to_numpy()
        self._prompts = columns["num_prompt_tokens"].to_numpy()
        self._lengths = columns["lengths"].values.to_numpy()
        self._firsts = columns["lengths"].offsets.to_numpy()
        self._columns = {
            name: columns[name].values.to_numpy()
            for name in columns
            if name not in (ID, BUNDLE, *TREE)
        }
        self._ids = columns[ID]
        bundles: npt.NDArray[np.int32] = columns[BUNDLE].to_numpy()
        self.bundle_starts: Counts = np.append(
            np.searchsorted(bundles, np.unique(bundles)), len(bundles)
        )

    def __len__(self) -> int:
        return len(self._prompts)

    @property
    def num_tokens(self) -> Counts:
        """Number of tokens of each tree, int64 [R]."""
        return np.diff(self._starts).astype(np.int64)

    def id(self, index: int) -> str:
        """The record that tree `index` was made from."""
        return self._ids[index].as_py()

    def __getitem__(self, index: int) -> PromptTree:
        start, end = int(self._starts[index]), int(self._starts[index + 1])
        trained = self._trained.slice(start, end - start).to_numpy(zero_copy_only=False)
        cursor = start + int(self._prompts[index])
        prompt_ids = self._tokens[start:cursor]
        continuations: list[Continuation] = []
        for number in range(int(self._firsts[index]), int(self._firsts[index + 1])):
            size = int(self._lengths[number])
            continuations.append(
                Continuation(
                    self._tokens[cursor : cursor + size],
                    trained[cursor - start : cursor - start + size],
                    {
                        name: values[cursor : cursor + size]
                        if name in PER_TOKEN
                        else _constant(values[number], size)
                        for name, values in self._columns.items()
                    },
                )
            )
            cursor += size
        return PromptTree(prompt_ids, tuple(continuations))


def _constant(value: np.float32, size: int) -> Floats:
    return np.full(size, value, dtype=np.float32)


def _offsets(sizes: Sequence[int]) -> Any:
    return pa.array(np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int32))


def _joined(parts: Sequence[npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
    return np.concatenate([*parts, np.zeros(0, dtype=dtype)]).astype(dtype, copy=False)
