"""Padding-free rows in which sequences share the tokens that they begin with.

A row is a prefix tree: what two prompts have in common at their start (a system prompt, say) is there once, then each
prompt once, then what its continuations have in common, then the rest of each. Tokens that nothing reads are not there:
a continuation ends before its last trained token. Position ids are those within the sequence, and attention
(models/attention.py) lets a token see what precedes it in its own sequences only, so that the row computes what
separate sequences would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medray.errors import DataError
from medray.types import Column, Continuation, PromptTree, TokenIds

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TreeSpan:
    """Where the tokens of one prompt and of its continuations lie in a row, ascending.

    Sequences that begin alike have the places of what they share in common, across trees too.
    """

    prompt: Indices  # [P]
    continuations: tuple[
        Indices, ...
    ]  # each [T], without the prompt's and without what is not computed


@dataclass(frozen=True, slots=True)
class PackedRow:
    """One micro-batch: T tokens of which N are trained, in S continuations.

    `predictors[n]` is the index in the row of the token whose hidden state predicts `targets[n]`: the token
    before it, or the prompt's last token for the first of a continuation.
    """

    token_ids: Indices  # [T]
    position_ids: Indices  # [T]
    spans: tuple[TreeSpan, ...]  # one a tree, in the order the trees were given
    predictors: Indices  # [N]
    targets: Indices  # [N]
    places: Indices  # [N] of the trained tokens themselves; -1 where a row that is not whole leaves one out
    sequence_index: Indices  # [N] which of the S continuations a trained token belongs to
    sequence_lengths: Indices  # [S] trained tokens of each continuation
    text_lengths: (
        Indices  # one per path: tokens of the sequence, those that are not computed included
    )
    columns: Mapping[str, Column]  # name -> [N] or [N, K]

    def paths(self) -> Iterator[Indices]:
        """Every sequence's tokens: a prompt's with each of its continuations', or alone where it has none."""
        for span in self.spans:
            for own in span.continuations or (span.prompt[:0],):
                yield np.concatenate([span.prompt, own])


def pack(
    trees: Sequence[PromptTree], row_tokens: int, *, split: bool = True, shared: bool = True
) -> list[list[PromptTree]]:
    """Distribute trees over rows of which at most `row_tokens` tokens are computed, first-fit decreasing.

    A tree above the budget is cut between its continuations when `split`, at the price of computing its
    prompt again; one continuation that alone exceeds the budget has a row to itself.

    Args:
        trees: what to distribute.
        row_tokens: the budget of a row.
        split: whether trees may be cut.
        shared: whether continuations share their prompt, or each is computed after a copy of its own.

    Returns:
        Rows as lists of trees, in an order that depends on nothing but the lengths.
    """
    pieces = [p for tree in trees for p in (_split(tree, row_tokens, shared) if split else (tree,))]
    rows = first_fit_decreasing([_num_computed(piece, shared) for piece in pieces], row_tokens)
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


def build_row(trees: Sequence[PromptTree], *, whole: bool = False, merge: bool = True) -> PackedRow:
    """Lay trees out in one row.

    Args:
        trees: what to compute.
        whole: keep the tokens after the last one that predicts, for whoever reads hidden states there.
        merge: False gives every tree, and every continuation of it, tokens of its own.

    Raises:
        DataError: a trained token has nothing before it, or columns differ between continuations.
    """
    read = [[c.token_ids[: _num_read(c, whole)] for c in t.continuations] for t in trees]
    layout = _Layout(merge)
    stems = layout.add(
        [
            np.concatenate([t.prompt_ids, *own]) if len(own) == 1 else t.prompt_ids
            for t, own in zip(trees, read, strict=True)
        ]
    )
    spans: list[TreeSpan] = []
    for tree, own, stem in zip(trees, read, stems, strict=True):
        prompt, lone = np.split(stem, [len(tree.prompt_ids)])
        continuations = (lone,) if len(own) == 1 else layout.add(own, len(prompt))
        spans.append(TreeSpan(prompt, tuple(continuations)))
    predictors: list[Indices] = []
    targets: list[Indices] = []
    places: list[Indices] = []
    lengths: list[int] = []
    columns: dict[str, list[Column]] = {}
    for tree, span in zip(trees, spans, strict=True):
        for continuation, own in zip(tree.continuations, span.continuations, strict=True):
            trained = np.flatnonzero(continuation.trained)
            if len(trained) and trained[0] == 0 and len(span.prompt) == 0:
                raise DataError("the first token of a sequence without a prompt cannot be trained")
            path = np.concatenate([span.prompt, own])
            predictors.append(path[len(span.prompt) + trained - 1])
            places.append(np.append(own, -1)[np.minimum(trained, len(own))])
            targets.append(continuation.token_ids[trained].astype(np.int64))
            lengths.append(len(trained))
            for name, column in continuation.columns.items():
                columns.setdefault(name, []).append(_exact(column[trained]))
    if any(len(parts) != len(lengths) for parts in columns.values()):
        raise DataError(
            f"columns {sorted(columns)} are not present on every continuation of the row"
        )
    return PackedRow(
        token_ids=np.concatenate(layout.token_ids).astype(np.int64),
        position_ids=np.concatenate(layout.position_ids),
        spans=tuple(spans),
        predictors=np.concatenate(predictors),
        targets=np.concatenate(targets),
        places=np.concatenate(places),
        sequence_index=np.repeat(np.arange(len(lengths)), lengths),
        sequence_lengths=np.asarray(lengths, dtype=np.int64),
        text_lengths=_text_lengths(trees),
        columns={name: np.concatenate(parts) for name, parts in columns.items()},
    )


def _text_lengths(trees: Sequence[PromptTree]) -> Indices:
    """Tokens of each text: a prompt with one continuation, or alone where it has none."""
    lengths = [
        len(tree.prompt_ids) + size
        for tree in trees
        for size in [len(c.token_ids) for c in tree.continuations] or [0]
    ]
    return np.asarray(lengths, dtype=np.int64)


class _Layout:
    """Builder of a packed row: token ids and positions appended so far."""

    def __init__(self, merge: bool) -> None:
        self.merge = merge
        self.token_ids: list[npt.NDArray[np.int32]] = []
        self.position_ids: list[Indices] = []
        self.num_tokens = 0

    def add(self, sequences: Sequence[TokenIds], position: int = 0) -> list[Indices]:
        """Append sequences that start at `position`; returns the places of each one's tokens.

        What they have in common at their start is appended once: sorted by bytes, a sequence shares most with the
        one before it.
        """
        order = range(len(sequences))
        if self.merge:
            order = sorted(order, key=lambda i: sequences[i].tobytes())
        places: list[Indices] = [np.zeros(0, np.int64)] * len(sequences)
        before = None
        for i in order:
            ids, same = sequences[i], 0
            shared = np.zeros(0, np.int64)
            if self.merge and before is not None:
                same = _common_length(sequences[before], ids)
                shared = places[before][:same]
            own = np.arange(self.num_tokens, self.num_tokens + len(ids) - same)
            places[i] = np.concatenate([shared, own])
            self.token_ids.append(ids[same:])
            self.position_ids.append(np.arange(position + same, position + len(ids)))
            self.num_tokens += len(own)
            before = i
        return places


def _common_length(a: TokenIds, b: TokenIds) -> int:
    """Number of tokens that two sequences begin with alike."""
    size = min(len(a), len(b))
    other = a[:size] != b[:size]
    return int(other.argmax()) if other.any() else size


def _num_read(continuation: Continuation, whole: bool) -> int:
    """Leading tokens of a continuation that a prediction, or else its reader, depends on."""
    if whole:
        return len(continuation.token_ids)
    trained = np.flatnonzero(continuation.trained)
    return int(trained[-1]) if len(trained) else 0


def _exact(column: Column) -> Column:
    """Numbers as float32; token ids as the integers they are."""
    return column.astype(np.float32 if column.dtype.kind == "f" else np.int64)


def _num_computed(tree: PromptTree, shared: bool) -> int:
    copies = 0 if shared else max(0, len(tree.continuations) - 1)
    return tree.num_tokens + copies * len(tree.prompt_ids)


def _split(tree: PromptTree, row_tokens: int, shared: bool) -> Iterator[PromptTree]:
    if _num_computed(tree, shared) <= row_tokens:
        yield tree
        return
    prompt = len(tree.prompt_ids)
    part, size = [], prompt
    for continuation in tree.continuations:
        own = len(continuation.token_ids) + (0 if shared or not part else prompt)
        if part and size + own > row_tokens:
            yield PromptTree(tree.prompt_ids, tuple(part))
            part, size, own = [], prompt, len(continuation.token_ids)
        part.append(continuation)
        size += own
    yield PromptTree(tree.prompt_ids, tuple(part))
