"""A schema of rows: how to recognise a row, and how to turn it into a record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.files.data_file import RawRow
from medray.data.files.splits import HELD_OUT, Split, split_of
from medray.data.loading.raw_rows import RawRows, notes_of, open_raw_rows
from medray.data.loading.stages import Stage
from medray.data.parsing.fields import Fields, require_scalar
from medray.data.parsing.roles import refuse_unread, unread_field
from medray.data.source import BadRow, LeftOut, Row, RowError, Source
from medray.types import Record

ParseRow = Callable[[dict[str, Any], str, DataConfig], Record]
"""(fields, `name:line`, settings) -> record; the name is the record's id when the row has none of its own."""
EVALUATION_ONLY = "evaluation_only"
"""Key of `Record.extra` that keeps a record out of training."""


@dataclass(frozen=True, slots=True)
class RowSchema:
    """One layout of rows in files or hub datasets. Called with a config, it opens `config.path`."""

    name: str
    summary: str
    stages: tuple[Stage, ...]
    matches: Callable[[Fields], bool]
    parse: ParseRow
    reads: frozenset[str] | None = None
    """Roles (`parsing/roles.py`) that a general schema reads: a row with another that changes its meaning is refused.
    None for the layout of one dataset, which is known."""
    gather: Callable[[Iterable[RawRow]], Iterator[RawRow]] | None = None
    """Makes the rows that `parse` reads of several in the file, where one record takes more than one."""

    def reads_all(self, row: Fields) -> bool:
        """True for a row of this layout without a field that changes its meaning and is not read."""
        if not self.matches(row):
            return False
        return self.reads is None or unread_field(row, self.reads) is None

    def __call__(self, config: DataConfig, /) -> Source:
        """Open every file of `config.path` as this schema."""
        several = open_raw_rows(config)
        digests: dict[str, str] = {}
        return Source(
            name=str(config.path),
            rows=self._read(several, config, digests),
            digests=digests,
            notes=notes_of(config, several),
        )

    def _read(
        self, several: Iterable[RawRows], config: DataConfig, digests: dict[str, str]
    ) -> Iterator[Row | BadRow]:
        for raw in several:
            yield from self.rows(raw.read(digests), config)

    def rows(self, raw_rows: Iterable[RawRow], config: DataConfig) -> Iterator[Row | BadRow]:
        """Each raw row as a record, or as what is wrong with it."""
        if self.gather is not None:
            raw_rows = self.gather(raw_rows)
        for raw in raw_rows:
            try:
                yield self._row(raw, config)
            except RowError as error:
                left_out = isinstance(error, LeftOut)
                detail = raw.without_names(error.detail)
                yield BadRow(raw.where, error.reason, detail, is_left_out=left_out)

    def _row(self, raw: RawRow, config: DataConfig) -> Row:
        if isinstance(raw.fields, RowError):
            raise raw.fields
        record = self.parse(raw.fields, raw.id, config)
        if self.reads is not None:
            refuse_unread(raw.fields, self.reads, self.name)
        check_finite(record)
        if config.group_key is not None:
            record = replace(record, group_id=require_scalar(raw.fields, config.group_key))
        is_held_out = (
            EVALUATION_ONLY in record.extra or (raw.split or _named_split(raw)) in HELD_OUT
        )
        return Row(raw.where, record, is_held_out=is_held_out)


def _named_split(raw: RawRow) -> Split | None:
    """The side that the row's own `split` column names."""
    value = raw.fields.get("split") if isinstance(raw.fields, dict) else None
    return split_of(value) if isinstance(value, str) else None


def has(*keys: str) -> Callable[[Fields], bool]:
    """A test for rows that have all these fields."""
    return lambda row: all(row.get(key) is not None for key in keys)


def check_finite(record: Record) -> None:
    """Refuse a record with a number that is NaN or infinite: it would end training far from its row.

    Raises:
        RowError: it names the field.
    """
    for name, value in (("margin", record.margin), ("extra", record.extra)):
        _check_finite(value, name)


def _check_finite(value: Any, name: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise RowError("not finite", f"{name!r} is {value}; write a number, or remove the field")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_finite(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check_finite(item, f"{name}[{i}]")
