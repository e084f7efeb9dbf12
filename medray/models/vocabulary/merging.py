"""Byte-pair encoding continued: more merges for a vocabulary that has some already.

Source: Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units"
(arXiv:1508.07909), algorithm 1, begun from the tokens of an existing vocabulary instead of characters.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Merge:
    """Two tokens that become one."""

    pair: Pair
    count: int
    """How often they stood side by side when the merge was found."""

    @property
    def token(self) -> str:
        """Token that the merged pair becomes."""
        return "".join(self.pair)


def continue_merges(
    words: Mapping[tuple[str, ...], int],
    *,
    num_merges: int,
    min_count: int,
    is_mergeable: Mapping[str, bool] | None = None,
) -> tuple[list[Merge], int]:
    """The next merges of byte-pair encoding: always the most frequent pair, the smaller texts first of equal ones.

    Args:
        words: how often each word occurs, as the tokens that it is made of.
        num_merges: stop after so many.
        min_count: stop when no pair is so frequent.
        is_mergeable: tokens that must stay apart have False; others may be left out.

    Returns:
        Merges in the order found, which depend on the counts alone; and how many tokens the words have after them.
    """
    apart = {token for token, allowed in (is_mergeable or {}).items() if not allowed}
    state = _Words(words, apart)
    merges: list[Merge] = []
    while len(merges) < num_merges:
        best = state.most_frequent()
        if best is None or best.count < min_count:
            break
        merges.append(best)
        state.merge(best.pair)
    return merges, state.num_tokens


class _Words:
    """Words as lists of tokens, and where each pair of neighbours occurs."""

    def __init__(self, words: Mapping[tuple[str, ...], int], apart: set[str]) -> None:
        self._apart = apart
        self._tokens = [list(tokens) for tokens in words]
        self._times = list(words.values())
        self._counts = Counter[Pair]()
        self._places: dict[Pair, set[int]] = {}
        for number in range(len(self._tokens)):
            self._count(number, 1)
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapq.heapify(self._heap)

    @property
    def num_tokens(self) -> int:
        return sum(len(t) * times for t, times in zip(self._tokens, self._times, strict=True))

    def most_frequent(self) -> Merge | None:
        while self._heap:
            negative, pair = self._heap[0]
            if self._counts[pair] == -negative and negative:
                return Merge(pair, -negative)
            heapq.heappop(
                self._heap
            )  # the count has changed since, and stands elsewhere in the heap
        return None

    def merge(self, pair: Pair) -> None:
        changed: set[Pair] = set()
        for number in sorted(self._places.pop(pair, ())):
            changed |= self._count(number, -1)
            self._tokens[number] = _merged(self._tokens[number], pair)
            changed |= self._count(number, 1)
        self._counts.pop(pair, None)
        for other in sorted(changed - {pair}):
            if self._counts[other] > 0:
                heapq.heappush(self._heap, (-self._counts[other], other))

    def _count(self, number: int, sign: int) -> set[Pair]:
        pairs = {
            pair
            for pair in pairwise(self._tokens[number])
            if pair[0] not in self._apart and pair[1] not in self._apart
        }
        for pair in pairwise(self._tokens[number]):
            if pair in pairs:
                self._counts[pair] += sign * self._times[number]
        for pair in pairs:
            places = self._places.setdefault(pair, set())
            if sign > 0:
                places.add(number)
            else:
                places.discard(number)
        return pairs


def _merged(tokens: list[str], pair: Pair) -> list[str]:
    merged: list[str] = []
    i = 0
    while i < len(tokens):
        if i + 1 < len(tokens) and (tokens[i], tokens[i + 1]) == pair:
            merged.append(tokens[i] + tokens[i + 1])
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged
