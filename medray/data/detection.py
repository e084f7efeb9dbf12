"""Schemas found from the rows themselves: `data.kind=auto`."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

from medray.config.data import DataConfig
from medray.data.feeds import Feed, FileFeed, open_feeds
from medray.data.files.data_file import RawRow
from medray.data.registry import SCHEMAS, find_schema
from medray.data.schema import RowSchema
from medray.data.schemas.pubmedqa import is_pubmedqa_file, read_pubmedqa
from medray.data.source import BadRow, Row, RowError, Source
from medray.errors import DataError

log = logging.getLogger(__name__)
NUM_ROWS = 50
"""Rows looked at in each file."""


def read_auto(config: DataConfig) -> Source:
    """Rows of every file of `data.path`, each file in the schema that its first rows show.

    Raises:
        DataError: no schema knows the rows of some file.
    """
    digests: dict[str, str] = {}
    held_out: set[str] = set()
    parts: list[Iterator[Row | BadRow]] = []
    for feed in open_feeds(config):
        if isinstance(feed, FileFeed) and is_pubmedqa_file(feed.file):
            source = read_pubmedqa(config.model_copy(update={"path": feed.name}))
            parts.append(iter(source.rows))
            digests.update(source.digests)
            held_out |= source.held_out_ids or set()
            continue
        schema = detect(feed)
        log.info("%s: data.kind=%s", feed.name, schema.name)
        parts.append(_rows(feed, schema, config, digests))
    return Source(
        name=str(config.path),
        rows=itertools.chain.from_iterable(parts),
        digests=digests,
        held_out_ids=frozenset(held_out) if held_out else None,
    )


def detect(feed: Feed) -> RowSchema:
    """The schema that knows most of the first rows; of several, the one that stands first in the registry.

    Raises:
        DataError: no schema knows any; the text shows the fields of the first row.
    """
    rows = [row.fields for row in itertools.islice(feed.read(), NUM_ROWS)]
    good = [fields for fields in rows if not isinstance(fields, RowError)]
    if not good:
        first = next(feed.read())
        assert isinstance(first.fields, RowError)
        raise DataError(f"{first.where}: {first.fields.reason}: {first.fields.detail}")
    schemas = row_schemas()
    counts = [sum(schema.matches(fields) for fields in good) for schema in schemas]
    best = max(counts)
    if best == 0:
        keys = ", ".join(map(repr, good[0])) or "none"
        raise DataError(
            f"{feed.name}: no schema knows rows with the fields {keys}: rename fields to those of one"
            " (`medray data list`), set data.kind, or name other files"
        )
    return schemas[counts.index(best)]


def row_schemas() -> list[RowSchema]:
    """Every registered schema of rows, those with the most particular rows first."""
    found = (find_schema(name) for name in SCHEMAS if name != "auto")
    return [schema for schema in found if isinstance(schema, RowSchema)]


def _rows(
    feed: Feed, schema: RowSchema, config: DataConfig, digests: dict[str, str]
) -> Iterator[Row | BadRow]:
    raw_rows: Iterator[RawRow] = feed.read(digests)
    return schema.rows(raw_rows, config)
