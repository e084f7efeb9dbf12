"""Prompts without end, in an order that a seed and a position rebuild exactly."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medray.errors import DataError
from medray.types import Prompt


class PromptStream:
    """Every prompt once an epoch, each epoch in a fresh order drawn from the seed and its number.

    `position`, the number of prompts taken so far, is the whole state: a stream made with it
    continues as if it had never stopped. A take may span an epoch's end.
    """

    def __init__(self, prompts: Sequence[Prompt], seed: int, position: int = 0) -> None:
        """
        Args:
            prompts: P prompts; their order matters, so load them the same way when resuming.
            seed: draws each epoch's order.
            position: prompts taken before, from a checkpoint.

        Raises:
            DataError: there is no prompt.
            ValueError: the position is negative.
        """
        if not prompts:
            raise DataError("no prompts: check data.path and data.max_prompt_tokens")
        if position < 0:
            raise ValueError(f"position is {position}; it counts prompts taken, so it is 0 or more")
        self._prompts = tuple(prompts)
        self._seed = seed
        self._position = position
        self._epoch = -1
        self._order: list[int] = []

    @property
    def position(self) -> int:
        """Number of prompts taken so far, over all epochs; saved in checkpoints for exact resume."""
        return self._position

    @property
    def epoch(self) -> float:
        """Passes over the prompts so far, with fraction."""
        return self._position / len(self._prompts)

    def take(self, n: int) -> tuple[Prompt, ...]:
        """Take the next `n` prompts, continuing into the next epoch where one ends.

        Raises:
            ValueError: n is negative.
        """
        if n < 0:
            raise ValueError(f"cannot take {n} prompts")
        taken = tuple(self._at(self._position + i) for i in range(n))
        self._position += n
        return taken

    def observe(self, results: Iterable[tuple[Prompt, Sequence[float]]]) -> None:
        """Learn the rewards of sampled prompts; they do not change this order."""

    def metrics(self) -> dict[str, float]:
        """Return metrics of the draws; this order has none."""
        return {}

    def state_from(self, position: int) -> Mapping[str, Any]:
        """Return what a stream that continues at `position` needs beside it, as JSON values."""
        return {}

    def _at(self, position: int) -> Prompt:
        epoch, offset = divmod(position, len(self._prompts))
        if epoch != self._epoch:
            self._order = list(range(len(self._prompts)))
            random.Random(f"{self._seed}/{epoch}").shuffle(self._order)
            self._epoch = epoch
        return self._prompts[self._order[offset]]
