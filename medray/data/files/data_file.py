"""One file of rows, and one row as it stands in its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medray.data.source import RowError

Format = Literal["jsonl", "json", "csv", "tsv", "parquet", "text"]
FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
}
"""Suffix -> format; any of them but Parquet may be followed by .gz."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file and how to read it. `name` is its path inside what was asked for, the same on any machine."""

    path: Path
    name: str
    format: Format
    encoding: str = "auto"
    documents: str = "auto"


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row before any schema: its fields, or why it has none.

    `where` finds it for a person (`path:line`); `id` is its name on any machine (`name:line`).
    """

    where: str
    id: str
    fields: dict[str, Any] | RowError


def raw_row(file: DataFile, line: int, fields: dict[str, Any] | RowError) -> RawRow:
    """The row that starts on `line` of `file` (in Parquet, its number), counted from 1."""
    return RawRow(f"{file.path}:{line}", f"{file.name}:{line}", fields)
