"""Which prepared rows a training step takes: known from the seed and the step's number, also while the folder grows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from medray.config.supervised import BatchConfig
from medray.data.batches.feed import NOTHING, Taken, deal, num_steps, positions
from medray.data.prepared.reader import PreparedTrees
from medray.errors import ConfigError, DataError
from medray.types import PromptTree

Trees = list[PromptTree]


class PreparedFeed:
    """Deals bundles of a prepared folder to ranks; has no state, so a run continues at any step with any ranks.

    The last step takes what is left of `batch.num_epochs`. `batch.rows_per_step` counts bundles: packed rows or
    buckets, where the folder was laid out so, else single rows. The first epoch goes through the shards as they were
    written, so it can begin before the last of them is; with `batch.shuffle`, later ones draw an order of shards, and
    of bundles inside each. A step waits for its shards.
    """

    def __init__(
        self,
        prepared: PreparedTrees,
        batch: BatchConfig,
        seed: int,
        *,
        tree: Callable[[int], PromptTree] | None = None,
        finish: Callable[[Trees], Trees] = list,
        taken: Taken = NOTHING,
    ) -> None:
        """
        Args:
            prepared: the training side.
            batch: rows in a step, and how many steps.
            seed: draws the order of later epochs.
            tree: gives a tree by its number with columns that the folder does not have; None takes it as it is.
            finish: what is done to all trees of a step before they are dealt.
            taken: how many bundles the run that continues has taken.

        Raises:
            DataError: there is no row.
            ConfigError: the folder still grows, and the number of steps is not said.
        """
        if not prepared.has_shard(0):
            raise DataError(f"{prepared.folder} has no row to train on")
        if not prepared.is_complete and batch.num_steps is None:
            raise ConfigError(
                f"{prepared.folder} is still being prepared, so the length of an epoch is unknown: set batch.num_steps"
            )
        self._prepared = prepared
        self._batch = batch
        self._seed = seed
        self._tree = tree or prepared.__getitem__
        self._finish = finish
        self._epoch: tuple[int, list[int]] = (-1, [])
        self._before = taken
        self._taken: tuple[int, Trees] = (0, [])

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run."""
        batch = self._batch
        if batch.num_steps is not None:
            return batch.num_steps
        num_bundles = sum(self._prepared.shard_bundles)
        return num_steps(batch, num_bundles, self._before)

    def epoch(self, step: int) -> float:
        """Passes over the rows after `step` steps; of a folder that grows, over those that are there."""
        return self.rows_after(step) / sum(self._prepared.shard_bundles)

    def rows_after(self, step: int) -> int:
        """Bundles that the run has taken after `step` steps."""
        return self._positions(step).stop

    def num_tokens(self, step: int) -> int:
        """Tokens that all ranks together compute in step `step`."""
        return sum(tree.num_tokens for tree in self._step(step))

    def step(self, step: int, rank: int, num_ranks: int) -> Trees:
        """The share of rank `rank` in step `step`, counted from 1."""
        trees = self._step(step)
        return [trees[i] for i in deal([t.num_tokens for t in trees], rank, num_ranks)]

    def _step(self, step: int) -> Trees:
        if self._taken[0] != step:
            begin = self._positions(step).start
            whole = [self._bundle(i) for i in range(begin, begin + self._batch.rows_per_step)]
            trees = [self._tree(number) for bundle in whole for number in bundle]
            taken = len(self._positions(step))  # counted now: the shards of the step are there
            # A short last step is finished as part of a whole one: KTO pairs its rows with others.
            self._taken = (step, self._finish(trees)[: sum(map(len, whole[:taken]))])
        return self._taken[1]

    def _positions(self, step: int) -> range:
        return positions(self._batch, sum(self._prepared.shard_bundles), step, self._before)

    def _bundle(self, position: int) -> range:
        """The trees of the bundle at a position of the run."""
        epoch = 0
        while True:
            for shard in self._shards(epoch):
                num_bundles = self._prepared.shard_bundles[shard]
                if position < num_bundles:
                    return self._prepared.bundle(shard, self._inside(epoch, shard, position))
                position -= num_bundles
            total = sum(self._prepared.shard_bundles)  # complete now: the epoch has ended
            epoch, position = epoch + 1 + position // total, position % total

    def _shards(self, epoch: int) -> Iterator[int]:
        if epoch == 0 or not self._batch.shuffle:
            shard = 0
            while self._prepared.has_shard(shard):
                yield shard
                shard += 1
            return
        if self._epoch[0] != epoch:
            order = list(range(len(self._prepared.shard_bundles)))
            random.Random(f"{self._seed}/{epoch}").shuffle(order)
            self._epoch = (epoch, order)
        yield from self._epoch[1]

    def _inside(self, epoch: int, shard: int, number: int) -> int:
        if epoch == 0 or not self._batch.shuffle:
            return number
        order = list(range(self._prepared.shard_bundles[shard]))
        random.Random(f"{self._seed}/{epoch}/{shard}").shuffle(order)
        return order[number]
