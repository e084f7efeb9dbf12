"""`data.columns`: fields of a row under the names that a schema reads."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from medray.config.data import FileConfig
from medray.data.files.data_file import RawRow
from medray.data.loading.nested import unwrapped
from medray.data.parsing.roles import ROLES
from medray.data.source import RowError
from medray.errors import ConfigError, DataError

NUM_ROWS = 50
"""Rows of which one must have a column that `data.columns` names."""
_ABSENT = object()


def check_columns(config: FileConfig) -> None:
    """Refuse a field that no schema reads, where the schema is to be found from the rows.

    Raises:
        ConfigError: it names the nearest known field.
    """
    if config.kind != "auto":
        return
    known = [name for names in ROLES.values() for name in names]
    for field, column in config.columns.items():
        if column is not None and field not in known:
            near = difflib.get_close_matches(field, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(ROLES)}"
            raise ConfigError(f"data.columns: no schema has a field {field!r}: {hint}")


def renamed_rows(
    rows: Iterator[RawRow], columns: Mapping[str, str | None], name: str
) -> Iterator[RawRow]:
    """The rows with each field of `columns` taken from the column it names, or left out where it names none.

    Raises:
        DataError: none of the first rows has a column.
    """
    if not columns:
        for row in rows:
            yield (
                row
                if isinstance(row.fields, RowError)
                else replace(row, fields=unwrapped(row.fields))
            )
        return
    first = list(itertools.islice(rows, NUM_ROWS))
    objects = [row.fields for row in first if not isinstance(row.fields, RowError)]
    for field, column in columns.items():
        if column is not None and objects and all(_find(o, column) is _ABSENT for o in objects):
            raise DataError(
                f"{name}: data.columns maps {field!r} to {column!r}, which is in none of the first {len(objects)} rows"
            )
    for row in itertools.chain(first, rows):
        if isinstance(row.fields, RowError):
            yield row
        else:
            yield replace(row, fields=unwrapped(renamed(row.fields, columns)))


def renamed(fields: dict[str, Any], columns: Mapping[str, str | None]) -> dict[str, Any]:
    """One row with its fields renamed; a column that it lacks leaves the field out."""
    taken = {column for column in columns.values() if column is not None}
    kept = {key: value for key, value in fields.items() if key not in columns and key not in taken}
    for field, column in columns.items():
        value = _ABSENT if column is None else _find(fields, column)
        if value is not _ABSENT:
            kept[field] = value
    return kept


def _find(fields: Mapping[str, Any], path: str) -> Any:
    """The value of a column, or of a dotted path (`data.Question`, `turns.0.text`)."""
    if path in fields:
        return fields[path]
    value: Any = fields
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _ABSENT
    return value
