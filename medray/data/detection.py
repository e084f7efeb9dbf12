"""Schemas found from the rows themselves: `data.kind=auto`."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import Any

from medray.config.data import DataConfig
from medray.data.loading.raw_rows import FileRows, RawRows, open_raw_rows
from medray.data.registry import SCHEMAS, find_schema
from medray.data.schema import RowSchema
from medray.data.schemas.pubmedqa import is_pubmedqa_file, read_pubmedqa
from medray.data.source import RowError, Source
from medray.errors import DataError

log = logging.getLogger(__name__)
NUM_ROWS = 50
"""Rows looked at in each file."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file or hub dataset, opened in its schema."""

    kind: str
    source: Source


def read_auto(config: DataConfig) -> Source:
    """Rows of every file of `data.path`, each file in the schema that its first rows show.

    Raises:
        DataError: no schema knows the rows of some file.
    """
    digests: dict[str, str] = {}
    parts = [open_part(raw, config, digests) for raw in open_raw_rows(config)]
    for part in parts:
        log.info("%s: data.kind=%s", part.source.name, part.kind)
    official = [part.source.held_out_ids for part in parts if part.source.held_out_ids]
    return Source(
        name=str(config.path),
        rows=itertools.chain.from_iterable(part.source.rows for part in parts),
        digests=digests,
        held_out_ids=frozenset().union(*official) if official else None,
    )


def open_part(raw: RawRows, config: DataConfig, digests: dict[str, str]) -> Part:
    """Open raw rows in the schema of `config.kind`, found from its rows when that is auto."""
    schema = find_schema(config.kind) if config.kind != "auto" else None
    if schema is None and isinstance(raw, FileRows) and is_pubmedqa_file(raw.file):
        source = read_pubmedqa(config.model_copy(update={"path": raw.name}))
        digests.update(source.digests)
        return Part("pubmedqa", source)
    if schema is None:
        schema = detect(raw)
    if not isinstance(schema, RowSchema):
        return Part(config.kind, schema(config))
    rows = schema.rows(raw.read(digests), config)
    return Part(schema.name, Source(raw.name, rows, digests))


def detect(raw: RawRows) -> RowSchema:
    """The schema that reads most of the first rows; of several, the one that stands first in the registry.

    Raises:
        DataError: no schema knows any; the text shows the fields of the first row.
    """
    rows = _first_rows(raw)
    good = [fields for fields in rows if not isinstance(fields, RowError)]
    if not good:
        first = next(raw.read())
        assert isinstance(first.fields, RowError)
        raise DataError(f"{first.where}: {first.fields.reason}: {first.fields.detail}")
    schemas = row_schemas()
    counts = [sum(schema.reads_all(fields) for fields in good) for schema in schemas]
    if not any(counts):  # whichever knows most of a row says which field it does not read
        counts = [sum(schema.matches(fields) for fields in good) for schema in schemas]
    best = max(counts)
    if best == 0:
        keys = ", ".join(map(repr, good[0])) or "none"
        raise DataError(
            f"{raw.name}: no schema knows rows with the fields {keys}: rename fields to those of one"
            " (`medray data list`), set data.kind, or name other files"
        )
    return schemas[counts.index(best)]


def _first_rows(raw: RawRows) -> list[dict[str, Any] | RowError]:
    """The first rows, or those up to where the file is damaged."""
    rows: list[dict[str, Any] | RowError] = []
    try:
        rows.extend(row.fields for row in itertools.islice(raw.read(), NUM_ROWS))
    except DataError:
        if not rows:
            raise
    return rows


def row_schemas() -> list[RowSchema]:
    """Every registered schema of rows, those with the most particular rows first."""
    found = (find_schema(name) for name in SCHEMAS if name != "auto")
    return [schema for schema in found if isinstance(schema, RowSchema)]
