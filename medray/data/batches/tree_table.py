"""Many trees in a few flat arrays: cheap to ship to a worker, read without a copy, one tree at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, overload

import numpy as np
import numpy.typing as npt

from medray.data.batches.trees import PER_TOKEN, per_token
from medray.types import Column, Continuation, Floats, PromptTree

Offsets = npt.NDArray[np.int64]


class TreeSequence(Protocol):
    """Trees by number, and their sizes without reading them."""

    @property
    def num_tokens(self) -> Offsets:
        """Number of tokens of each tree, int64 [R]."""
        ...

    def __len__(self) -> int:
        """Number of trees, R in the shapes below."""
        ...

    def __getitem__(self, index: int, /) -> PromptTree: ...


@dataclass(frozen=True)
class TreeTable:
    """R trees with C continuations in all.

    The tokens of a tree lie together: its prompt, then its continuations. A column holds one value a
    continuation, which every token of it gets, or one a token (`trees.PER_TOKEN`).
    """

    token_ids: npt.NDArray[np.int32]  # [N]
    trained: npt.NDArray[np.bool_]  # [N], False in prompts
    tree_starts: Offsets  # [R + 1] in tokens
    first_continuation: Offsets  # [R + 1] in continuations
    continuation_starts: Offsets  # [C] in tokens
    columns: dict[str, Floats] = field(default_factory=dict[str, Floats])  # name -> [C] or [N]

    @classmethod
    def of(cls, trees: Iterable[PromptTree]) -> TreeTable:
        """Lay trees out; they must have the same columns, which but for `trees.PER_TOKEN` are constant."""
        tokens: list[npt.NDArray[np.int32]] = [np.zeros(0, dtype=np.int32)]
        masks: list[npt.NDArray[np.bool_]] = [np.zeros(0, dtype=np.bool_)]
        tree_starts, firsts, starts = [0], [0], list[int]()
        columns: dict[str, list[Column]] = {}
        cursor = 0
        for tree in trees:
            tokens.append(tree.prompt_ids)
            masks.append(np.zeros(len(tree.prompt_ids), dtype=np.bool_))
            cursor += len(tree.prompt_ids)
            for continuation in tree.continuations:
                starts.append(cursor)
                tokens.append(continuation.token_ids)
                masks.append(continuation.trained)
                cursor += len(continuation.token_ids)
                for name in continuation.columns.keys() - PER_TOKEN:
                    columns.setdefault(name, []).append(continuation.columns[name][:1])
            for name, column in per_token(tree).items():
                columns.setdefault(name, []).append(column)
            tree_starts.append(cursor)
            firsts.append(len(starts))
        return cls(
            np.concatenate(tokens),
            np.concatenate(masks),
            np.asarray(tree_starts, dtype=np.int64),
            np.asarray(firsts, dtype=np.int64),
            np.asarray(starts, dtype=np.int64),
            {name: np.concatenate(parts).astype(np.float32) for name, parts in columns.items()},
        )

    @property
    def num_tokens(self) -> Offsets:
        """Number of tokens of each tree, int64 [R]."""
        return np.diff(self.tree_starts)

    @property
    def num_trained(self) -> int:
        """Trained tokens of all trees."""
        return int(self.trained.sum())

    def __len__(self) -> int:
        return len(self.tree_starts) - 1

    @overload
    def __getitem__(self, index: int, /) -> PromptTree: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[PromptTree]: ...
    def __getitem__(self, index: int | slice, /) -> PromptTree | Sequence[PromptTree]:
        """One tree, or those of a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"tree {index} of {len(self)}")
        first, last = self.first_continuation[index], self.first_continuation[index + 1]
        starts = self.continuation_starts[first:last]
        ends = [*starts[1:], self.tree_starts[index + 1]]
        prompt_end = starts[0] if len(starts) else self.tree_starts[index + 1]
        return PromptTree(
            self.token_ids[self.tree_starts[index] : prompt_end],
            tuple(
                self._continuation(int(first) + i, int(start), int(end))
                for i, (start, end) in enumerate(zip(starts, ends, strict=True))
            ),
        )

    def _continuation(self, number: int, start: int, end: int) -> Continuation:
        columns = {
            name: values[start:end]
            if name in PER_TOKEN
            else np.full(end - start, values[number], dtype=np.float32)
            for name, values in self.columns.items()
        }
        return Continuation(self.token_ids[start:end], self.trained[start:end], columns)
