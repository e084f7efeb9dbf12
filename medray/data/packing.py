"""Padding-free rows in which the continuations of a prompt share the prompt's tokens.

A row is `[prompt, c1, ..., cG, next prompt, ...]`. Position ids of every continuation restart after its
prompt, and attention (models/attention.py) lets a continuation see its prompt and itself only, so the
row computes what G separate sequences would, with the prompt computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medray.errors import DataError
from medray.types import Column, PromptTree

Indices = npt.NDArray[np.int64]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TreeSpan:
    """Where one prompt and its continuations lie in a row, as half-open token ranges."""

    prompt: Span
    continuations: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class PackedRow:
    """One micro-batch: T tokens of which N are trained, in S continuations.

    `predictors[n]` is the index in the row of the token whose hidden state predicts `targets[n]`: the token
    before it, or the prompt's last token for the first of a continuation.
    """

    token_ids: Indices  # [T]
    position_ids: Indices  # [T]
    spans: tuple[TreeSpan, ...]
    predictors: Indices  # [N]
    targets: Indices  # [N]
    sequence_index: Indices  # [N] which of the S continuations a trained token belongs to
    sequence_lengths: Indices  # [S] trained tokens of each continuation
    columns: Mapping[str, Column]  # name -> [N] or [N, K]


def pack(
    trees: Sequence[PromptTree], row_tokens: int, *, split: bool = True
) -> list[list[PromptTree]]:
    """Distribute trees over rows of at most `row_tokens` tokens, first-fit decreasing.

    A tree above the budget is cut between its continuations when `split`, at the price of computing its
    prompt again; one continuation that alone exceeds the budget has a row to itself.

    Returns:
        Rows as lists of trees, in an order that depends on nothing but the lengths.
    """
    pieces = [p for tree in trees for p in (_split(tree, row_tokens) if split else (tree,))]
    rows = first_fit_decreasing([piece.num_tokens for piece in pieces], row_tokens)
    return [[pieces[i] for i in row] for row in rows]


def first_fit_decreasing(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices of `sizes` in bins of at most `capacity`: largest first, each into the first bin that has room.

    A size above the capacity has a bin to itself. Takes O(n log n).

    Returns:
        Bins in the order they were opened, the indices of each ascending.
    """
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    num_large = sum(size > capacity for size in sizes)
    bins: list[list[int]] = [[i] for i in order[:num_large]]
    num_leaves = 1 << max(0, len(order) - num_large - 1).bit_length()
    room = [capacity] * (2 * num_leaves)  # a binary tree: each node holds the largest room below it
    for i in order[num_large:]:
        node = 1
        while node < num_leaves:
            node *= 2
            node += room[node] < sizes[i]
        number = num_large + node - num_leaves
        if number == len(bins):
            bins.append([])
        bins[number].append(i)
        room[node] -= sizes[i]
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return [sorted(one) for one in bins]


def balance(sizes: Sequence[int], num_ranks: int) -> list[list[int]]:
    """Indices for each rank so that the sums of `sizes` are close: largest first to the lightest rank."""
    ranks: list[list[int]] = [[] for _ in range(num_ranks)]
    load = [0] * num_ranks
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        lightest = min(range(num_ranks), key=lambda r: (load[r], len(ranks[r]), r))
        ranks[lightest].append(i)
        load[lightest] += sizes[i]
    return [sorted(rank) for rank in ranks]


def build_row(trees: Sequence[PromptTree]) -> PackedRow:
    """Lay trees out in one row.

    Raises:
        DataError: a trained token has nothing before it, or columns differ between continuations.
    """
    tokens: list[npt.NDArray[np.int32]] = []
    positions: list[npt.NDArray[np.int64]] = []
    spans: list[TreeSpan] = []
    predictors: list[Indices] = []
    targets: list[Indices] = []
    lengths: list[int] = []
    columns: dict[str, list[Column]] = {}
    cursor = 0
    for tree in trees:
        prompt = (cursor, cursor + len(tree.prompt_ids))
        tokens.append(tree.prompt_ids)
        positions.append(np.arange(len(tree.prompt_ids)))
        cursor = prompt[1]
        continuations: list[Span] = []
        for continuation in tree.continuations:
            start, size = cursor, len(continuation.token_ids)
            trained = np.flatnonzero(continuation.trained)
            before = np.where(trained > 0, start + trained - 1, prompt[1] - 1)
            if len(trained) and trained[0] == 0 and prompt[0] == prompt[1]:
                raise DataError("the first token of a sequence without a prompt cannot be trained")
            tokens.append(continuation.token_ids)
            positions.append(np.arange(len(tree.prompt_ids), len(tree.prompt_ids) + size))
            predictors.append(before.astype(np.int64))
            targets.append(continuation.token_ids[trained].astype(np.int64))
            lengths.append(len(trained))
            for name, column in continuation.columns.items():
                columns.setdefault(name, []).append(_exact(column[trained]))
            cursor += size
            continuations.append((start, cursor))
        spans.append(TreeSpan(prompt, tuple(continuations)))
    if any(len(parts) != len(lengths) for parts in columns.values()):
        raise DataError(
            f"columns {sorted(columns)} are not present on every continuation of the row"
        )
    return PackedRow(
        token_ids=np.concatenate(tokens).astype(np.int64),
        position_ids=np.concatenate(positions).astype(np.int64),
        spans=tuple(spans),
        predictors=np.concatenate(predictors),
        targets=np.concatenate(targets),
        sequence_index=np.repeat(np.arange(len(lengths)), lengths),
        sequence_lengths=np.asarray(lengths, dtype=np.int64),
        columns={name: np.concatenate(parts) for name, parts in columns.items()},
    )


def _exact(column: Column) -> Column:
    """Numbers as float32; token ids as the integers they are."""
    return column.astype(np.float32 if column.dtype.kind == "f" else np.int64)


def unshare(trees: Sequence[PromptTree]) -> list[PromptTree]:
    """Every continuation with a prompt of its own: for architectures that cannot share one."""
    return [PromptTree(t.prompt_ids, (c,)) for t in trees for c in t.continuations]


def _split(tree: PromptTree, row_tokens: int) -> Iterator[PromptTree]:
    if tree.num_tokens <= row_tokens:
        yield tree
        return
    part, size = [], len(tree.prompt_ids)
    for continuation in tree.continuations:
        if part and size + len(continuation.token_ids) > row_tokens:
            yield PromptTree(tree.prompt_ids, tuple(part))
            part, size = [], len(tree.prompt_ids)
        part.append(continuation)
        size += len(continuation.token_ids)
    yield PromptTree(tree.prompt_ids, tuple(part))
