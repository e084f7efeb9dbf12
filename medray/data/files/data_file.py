"""One file of rows, and one row as it stands in its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medray.data.files.splits import Split
from medray.data.source import RowError

Format = Literal["jsonl", "json", "csv", "tsv", "parquet", "arrow", "excel", "text"]
FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".xlsx": "excel",
    ".txt": "text",
}
"""Suffix -> format."""
BINARY: tuple[Format, ...] = ("parquet", "arrow", "excel")
"""Formats that are packed by themselves; the others may be followed by one of `unpacking.PACKED_SUFFIXES`."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file and how to read it.

    `name` is its path inside what was asked for, the same on any machine. `member` is its name in the zip archive at
    `path`. `split` is the side of a split it is named after, where its neighbours are named after others. `is_headless`
    says that a table has no header line.
    """

    path: Path
    name: str
    format: Format
    encoding: str = "auto"
    documents: str = "auto"
    member: str = ""
    split: Split | None = None
    is_headless: bool = False

    @property
    def place(self) -> str:
        """Path of the file for messages, `archive/member` inside an archive."""
        return f"{self.path}/{self.member}" if self.member else str(self.path)


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row before any schema: its fields, or why it has none.

    `where` finds it for a person (`path:line`); `id` is its name on any machine (`name:line`). `split` is the side of a
    split that the file or the list it stands in is named after. `hides_names` says that the names of its fields may be
    the words of a record, where a table has no header line: they are not to be printed.
    """

    where: str
    id: str
    fields: dict[str, Any] | RowError
    split: Split | None = None
    hides_names: bool = False

    def without_names(self, text: str) -> str:
        """`text`, each name of a field in it as the number of its column where names are not to be printed."""
        if self.hides_names and isinstance(self.fields, dict):
            for number, name in enumerate(self.fields, start=1):
                text = text.replace(repr(name), f"column {number}")
        return text


def raw_row(
    file: DataFile,
    line: int,
    fields: dict[str, Any] | RowError,
    split: Split | None = None,
    *,
    hides_names: bool = False,
) -> RawRow:
    """The row that starts on `line` of `file` (in Parquet, its number), counted from 1."""
    where, name = f"{file.place}:{line}", f"{file.name}:{line}"
    return RawRow(where, name, fields, split or file.split, hides_names)
