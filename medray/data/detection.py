"""Schemas found from the rows themselves: `data.kind=auto`."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass

from medray.config.data import DataConfig
from medray.data.files.data_file import RawRow
from medray.data.loading.raw_rows import FileRows, RawRows, notes_of, open_raw_rows
from medray.data.loading.suggesting import unknown_layout
from medray.data.parsing.roles import unread_names
from medray.data.registry import SCHEMAS, find_schema
from medray.data.schema import RowSchema
from medray.data.schemas.pubmedqa import is_pubmedqa_file, read_pubmedqa
from medray.data.source import RowError, Source
from medray.errors import DataError

log = logging.getLogger(__name__)
NUM_ROWS = 50
"""Rows looked at in each file."""
NUM_NAMES = 6
"""Fields named in a note."""


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
    several = open_raw_rows(config)
    parts = [open_part(raw, config, digests) for raw in several]
    for part in parts:
        log.info("%s: data.kind=%s", part.source.name, part.kind)
    official = [part.source.held_out_ids for part in parts if part.source.held_out_ids]
    return Source(
        name=str(config.path),
        rows=itertools.chain.from_iterable(part.source.rows for part in parts),
        digests=digests,
        held_out_ids=frozenset().union(*official) if official else None,
        notes=(*notes_of(config, several), *(note for part in parts for note in part.source.notes)),
    )


def open_part(raw: RawRows, config: DataConfig, digests: dict[str, str]) -> Part:
    """Open raw rows in the schema of `config.kind`, found from its rows when that is auto."""
    schema = find_schema(config.kind) if config.kind != "auto" else None
    if schema is None and isinstance(raw, FileRows) and is_pubmedqa_file(raw.file):
        source = read_pubmedqa(config.model_copy(update={"path": raw.name}))
        digests.update(source.digests)
        return Part("pubmedqa", source)
    notes: tuple[str, ...] = ()
    if schema is None:
        schema = detect(raw)
        notes = _left_aside(schema, raw)
    if not isinstance(schema, RowSchema):
        return Part(config.kind, schema(config))
    rows = schema.rows(raw.read(digests), config)
    return Part(schema.name, Source(raw.name, rows, digests, notes=notes))


def detect(raw: RawRows) -> RowSchema:
    """The schema that reads most of the first rows; of several, the one that stands first in the registry.

    Raises:
        DataError: no schema knows any; the text shows the fields of the first row.
    """
    rows = _first_rows(raw)
    good = [row.fields for row in rows if not isinstance(row.fields, RowError)]
    if not good:
        [first, *_] = rows
        assert isinstance(first.fields, RowError)
        raise DataError(f"{first.where}: {first.fields.reason}: {first.fields.detail}")
    schemas = row_schemas()
    counts = [sum(schema.reads_all(fields) for fields in good) for schema in schemas]
    if not any(counts):  # whichever knows most of a row says which field it does not read
        counts = [sum(schema.matches(fields) for fields in good) for schema in schemas]
    if not any(counts):
        first = next(row for row in rows if not isinstance(row.fields, RowError))
        raise DataError(f"{raw.name}: {unknown_layout(first)}")
    return schemas[counts.index(max(counts))]


def _left_aside(schema: RowSchema, raw: RawRows) -> tuple[str, ...]:
    """A note on the fields that say something and that a general schema leaves aside."""
    if schema.reads is None:
        return ()
    names: dict[str, None] = {}
    for row in _first_rows(raw):
        if not isinstance(row.fields, RowError) and not row.hides_names:
            names |= dict.fromkeys(unread_names(row.fields, schema.reads))
    shown = ", ".join(map(repr, itertools.islice(names, NUM_NAMES)))
    more = f" and {len(names) - NUM_NAMES} more" if len(names) > NUM_NAMES else ""
    return (f"{raw.name}: fields not read: {shown}{more}",) if names else ()


def _first_rows(raw: RawRows) -> list[RawRow]:
    """The first rows, or those up to where the file is damaged."""
    rows: list[RawRow] = []
    try:
        rows.extend(itertools.islice(raw.read(), NUM_ROWS))
    except DataError:
        if not rows:
            raise
    return rows


def row_schemas() -> list[RowSchema]:
    """Every registered schema of rows, those with the most particular rows first."""
    found = (find_schema(name) for name in SCHEMAS if name != "auto")
    return [schema for schema in found if isinstance(schema, RowSchema)]
