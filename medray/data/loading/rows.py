"""Rows of a dataset one at a time: checked for a stage, counted, and assigned to a side of the split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from medray.config.data import DataConfig
from medray.data.loading.report import DropCounter
from medray.data.loading.split import group_of, is_held_out
from medray.data.loading.stages import Stage, for_stage
from medray.data.source import BadRow, Row, RowError
from medray.errors import DataError

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
        elif config.on_bad_row == "error" and not row.is_left_out:
            raise DataError(f"{row} (data.on_bad_row=skip skips such rows)")
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
        """Decide whether the next row trains or is held out.

        Rows of one group (same prompt, dialogue or patient) always go to the same side.
        """
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
