"""A few items of a stream, each as likely as any other."""

from __future__ import annotations

import random
from typing import Generic, TypeVar

T = TypeVar("T")


class Reservoir(Generic[T]):
    """At most `size` of the items it is shown, drawn with `seed` (Vitter's algorithm R).

    The same stream and seed give the same items, in the order of the stream.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._random = random.Random(seed)
        self._kept: list[tuple[int, T]] = []
        self._num_seen = 0

    def add(self, item: T) -> None:
        """Offer one item; each item offered so far is kept with equal probability (Vitter's algorithm R)."""
        number, self._num_seen = self._num_seen, self._num_seen + 1
        if number < self._size:
            self._kept.append((number, item))
        elif (place := self._random.randrange(self._num_seen)) < self._size:
            self._kept[place] = (number, item)

    def items(self) -> list[T]:
        """Sampled items, in the order they were offered."""
        return [item for _, item in sorted(self._kept, key=lambda pair: pair[0])]
