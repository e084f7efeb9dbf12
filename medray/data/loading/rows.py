"""Rows of a dataset one at a time: checked for a stage, counted, and told apart by the split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from medray.config.data import DataConfig
from medray.data.loading.mixture import copies, open_source
from medray.data.loading.report import DropCounter, LoadReport
from medray.data.loading.split import group_of, is_held_out
from medray.data.loading.stages import Stage, for_stage
from medray.data.source import BadRow, Row, RowError
from medray.errors import DataError
from medray.types import Record

Side = Literal["train", "held_out"]


def staged(rows: Iterable[Row | BadRow], stage: Stage | None) -> Iterator[Row | BadRow]:
    """The rows as `stage` reads them, those that it cannot use as bad ones; unchanged for None."""
    for row in rows:
        if stage is not None and isinstance(row, Row):
            try:
                row = replace(row, record=for_stage(row.record, stage))
            except RowError as error:
                row = BadRow(row.where, error.reason, error.detail)
        yield row


def checked_rows(
    rows: Iterable[Row | BadRow], config: DataConfig, dropped: DropCounter, stage: Stage | None
) -> Iterator[Row]:
    """The good rows as `stage` reads them; bad ones are counted in `dropped`.

    Raises:
        DataError: a row is bad and `config.on_bad_row` is error.
    """
    for row in staged(rows, stage):
        if isinstance(row, Row):
            yield row
        elif config.on_bad_row == "error":
            raise DataError(f"{row} (data.on_bad_row=skip leaves such rows out)")
        else:
            dropped.add(row)


class Sides:
    """Tells the side of each row of a stream: what the dataset marks, else a share of the groups.

    A row that the dataset marks as held out takes the later rows of its group with it.
    """

    def __init__(self, config: DataConfig, official: frozenset[str] | None) -> None:
        """
        Args:
            config: its seed and `held_out_fraction` draw groups, where the dataset marks none.
            official: ids of an official held-out split, None without one.
        """
        self._config = config
        self._official = official
        self._held_out_groups = set[str]()

    def of(self, row: Row) -> Side:
        """The side of the next row."""
        group = group_of(row.record)
        official = self._official
        if row.is_held_out or (official is not None and row.record.id in official):
            self._held_out_groups.add(group)
            return "held_out"
        if official is not None or self._config.eval_path is not None:
            is_out = group in self._held_out_groups
        else:
            is_out = is_held_out(group, self._config.seed, self._config.held_out_fraction)
        return "held_out" if is_out else "train"


class RecordStream:
    """One pass over one side of a dataset, in constant memory and in the order of its files.

    The held-out side is what the dataset marks so (an official split, `data.eval_path`), else the share
    `data.held_out_fraction` of the groups. The seed and the names of the groups alone decide, so streams of
    the two sides never share one. Training records come as often as the weight of their source says. Ids are
    not compared with each other; `load_dataset` and `medray data validate` do.
    """

    def __init__(
        self, config: DataConfig, side: Side = "train", *, stage: Stage | None = None
    ) -> None:
        self._config = config
        self._side = side
        self._stage: Stage | None = stage
        self._source = open_source(config)
        self._dropped = DropCounter()
        self._counts = Counter[str]()
        self._sides = Sides(config, self._source.held_out_ids)

    def __iter__(self) -> Iterator[Record]:
        """The records of this side.

        Raises:
            DataError: a row is bad and `data.on_bad_row` is error, or this is the second pass.
        """
        if self._counts["passes"]:
            raise DataError(f"{self._source.name}: a stream is read once: make another")
        self._counts["passes"] += 1
        for row in checked_rows(self._source.rows, self._config, self._dropped, self._stage):
            side = self._sides.of(row)
            self._counts[side] += 1
            if side != self._side:
                continue
            if side == "held_out":
                yield row.record
            else:
                yield from self._repeated(row)

    def report(self) -> LoadReport:
        """What became of the rows read so far; those of the other side are counted, too."""
        counts = self._counts
        return LoadReport(
            source=self._source.name,
            digests=dict(self._source.digests),
            num_read=counts["train"] + counts["held_out"] + self._dropped.num_rows,
            num_train=counts["train"] + counts["repeated"] - counts["unused"],
            num_held_out=counts["held_out"],
            num_unused=counts["unused"],
            dropped=self._dropped.by_reason(),
            num_repeated=counts["repeated"],
        )

    def _repeated(self, row: Row) -> Iterator[Record]:
        taken = list(copies(row.record, row.weight, self._config.seed))
        self._counts["repeated"] += max(len(taken) - 1, 0)
        self._counts["unused"] += not taken
        return iter(taken)
