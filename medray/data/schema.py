"""A schema of rows: how to recognise a row, and how to turn it into a record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.files.data_file import RawRow
from medray.data.loading.raw_rows import Feed, open_feeds
from medray.data.loading.stages import Stage
from medray.data.parsing.fields import Fields, require_scalar
from medray.data.source import BadRow, Row, RowError, Source
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

    def __call__(self, config: DataConfig, /) -> Source:
        """Open every file of `config.path` as this schema."""
        feeds = open_feeds(config)
        digests: dict[str, str] = {}
        return Source(
            name=str(config.path), rows=self._read(feeds, config, digests), digests=digests
        )

    def _read(
        self, feeds: Iterable[Feed], config: DataConfig, digests: dict[str, str]
    ) -> Iterator[Row | BadRow]:
        for feed in feeds:
            yield from self.rows(feed.read(digests), config)

    def rows(self, raw_rows: Iterable[RawRow], config: DataConfig) -> Iterator[Row | BadRow]:
        """Each raw row as a record, or as what is wrong with it."""
        for raw in raw_rows:
            try:
                yield self._row(raw, config)
            except RowError as error:
                yield BadRow(raw.where, error.reason, error.detail)

    def _row(self, raw: RawRow, config: DataConfig) -> Row:
        if isinstance(raw.fields, RowError):
            raise raw.fields
        record = self.parse(raw.fields, raw.id, config)
        if config.group_key is not None:
            record = replace(record, group_id=require_scalar(raw.fields, config.group_key))
        return Row(raw.where, record, is_held_out=EVALUATION_ONLY in record.extra)


def has(*keys: str) -> Callable[[Fields], bool]:
    """A test for rows that have all these fields."""
    return lambda row: all(row.get(key) is not None for key in keys)
