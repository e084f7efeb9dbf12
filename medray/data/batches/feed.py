"""Which rows a training step takes: known from the seed and the step's number alone."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from medray.config.supervised import BatchConfig
from medray.data.batches.packing import balance
from medray.data.batches.tree_table import TreeSequence
from medray.errors import DataError
from medray.types import PromptTree


class Taken(NamedTuple):
    """How many rows a run has taken after a step, counted through all epochs.

    A run whose last step was short goes on with the rows after these when `batch.num_epochs` is raised.
    """

    step: int = 0
    rows: int = 0


NOTHING = Taken()
"""What a fresh run has taken."""


class Feed(Protocol):
    """What every step of a run trains on, the same for any number of ranks."""

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run."""
        ...

    def epoch(self, step: int) -> float:
        """Passes over the rows after `step` steps."""
        ...

    def rows_after(self, step: int) -> int:
        """Rows that the run has taken after `step` steps, counted through all epochs: what `Taken` keeps."""
        ...

    def num_tokens(self, step: int) -> int:
        """Tokens that all ranks together compute in step `step`."""
        ...

    def step(self, step: int, rank: int, num_ranks: int) -> list[PromptTree]:
        """The share of rank `rank` in step `step`, counted from 1."""
        ...


class StepFeed:
    """Deals the rows of every step to ranks; has no state, so a run continues at any step with any ranks.

    A run that continues says what it has `taken`. Every epoch takes each row once, in an order of its own when
    `batch.shuffle`; a step may span the end of an epoch, and the last one takes what is left of `batch.num_epochs`.
    Ranks get about the same number of tokens.
    """

    def __init__(
        self, rows: TreeSequence, batch: BatchConfig, seed: int, taken: Taken = NOTHING
    ) -> None:
        if len(rows) == 0:
            raise DataError("no row to train on: check data.path and chat.max_tokens")
        self.rows = rows
        self.batch = batch
        self.seed = seed
        self.taken = taken
        self._epoch = -1
        self._order: Sequence[int] = ()

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return num_steps(self.batch, len(self.rows), self.taken)

    def epoch(self, step: int) -> float:
        """Passes over the rows after `step` steps."""
        return self.rows_after(step) / len(self.rows)

    def rows_after(self, step: int) -> int:
        """Rows that the run has taken after `step` steps."""
        return positions(self.batch, len(self.rows), step, self.taken).stop

    def num_tokens(self, step: int) -> int:
        """Tokens that all ranks together compute in step `step`."""
        return int(self.rows.num_tokens[self._numbers(step)].sum())

    def step(self, step: int, rank: int, num_ranks: int) -> list[PromptTree]:
        """The share of rank `rank` in step `step`, counted from 1."""
        numbers = self._numbers(step)
        sizes = self.rows.num_tokens[numbers].tolist()
        return [self.rows[numbers[i]] for i in deal(sizes, rank, num_ranks)]

    def _numbers(self, step: int) -> list[int]:
        return [self._at(i) for i in positions(self.batch, len(self.rows), step, self.taken)]

    def _at(self, position: int) -> int:
        epoch, offset = divmod(position, len(self.rows))
        if not self.batch.shuffle:
            return offset
        if epoch != self._epoch:
            order = list(range(len(self.rows)))
            random.Random(f"{self.seed}/{epoch}").shuffle(order)
            self._epoch, self._order = epoch, order
        return self._order[offset]


def num_steps(batch: BatchConfig, num_rows: int, taken: Taken = NOTHING) -> int:
    """Optimizer steps that `batch` asks for, those of `taken` included."""
    if batch.num_steps is not None:
        return batch.num_steps
    left = max(0, _num_taken(batch, num_rows) - taken.rows)
    return taken.step + math.ceil(left / batch.rows_per_step)


def positions(batch: BatchConfig, num_rows: int, step: int, taken: Taken = NOTHING) -> range:
    """Which rows of the run step `step`, after those of `taken`, takes, counted from 0 through all epochs; the last
    step may be short."""
    begin = taken.rows + (step - taken.step - 1) * batch.rows_per_step
    end = begin + batch.rows_per_step
    if batch.num_steps is None and begin < (last := _num_taken(batch, num_rows)):
        end = min(end, last)
    return range(begin, end)


def _num_taken(batch: BatchConfig, num_rows: int) -> int:
    """Rows that `batch.num_epochs` takes; a share of a row counts as one, rounding errors aside."""
    return max(1, math.ceil(round(batch.num_epochs * num_rows, 6)))


def deal(sizes: Sequence[int], rank: int, num_ranks: int) -> list[int]:
    """Which of the rows of these sizes rank `rank` takes, so that ranks have about the same number of tokens."""
    return balance(sizes, num_ranks)[rank]
