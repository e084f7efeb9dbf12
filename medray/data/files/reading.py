"""Rows of a file, whatever its format."""

from __future__ import annotations

import json
from collections.abc import Iterator

from medray.data.files.data_file import DataFile, Format, RawRow
from medray.data.files.json_array import read_json_array
from medray.data.files.jsonl import parse_line, read_jsonl
from medray.data.files.opening import Digests, encoding_of, sample
from medray.data.files.parquet import read_parquet
from medray.data.files.table import read_table
from medray.data.files.text import read_text
from medray.errors import DataError

_READERS = {
    "jsonl": read_jsonl,
    "json": read_json_array,
    "csv": read_table,
    "tsv": read_table,
    "parquet": read_parquet,
    "text": read_text,
}


def read_raw(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The rows of `file` in constant memory; `digests` gets its sha256 once all are read.

    A row that cannot be read is given with its fault.

    Raises:
        DataError: the file cannot be read on, or has no row.
    """
    is_empty = True
    for row in _READERS[actual_format(file)](file, digests):
        is_empty = False
        yield row
    if is_empty:
        raise DataError(f"{file.path} is empty: point data.path at a file with rows")


def actual_format(file: DataFile) -> Format:
    """The format, with .json and .txt told from JSON Lines by how they begin."""
    if file.format not in ("json", "text"):
        return file.format
    head = sample(file).removeprefix(b"\xef\xbb\xbf").lstrip()
    first_line, newline, _ = head.partition(b"\n")
    is_row = isinstance(parse_line(first_line, encoding_of(file)), dict)
    if file.format == "text":
        return "jsonl" if is_row else "text"
    if not head.startswith(b"{"):
        return "json"
    if is_row and (newline or _is_whole(head)):
        return "jsonl"
    raise DataError(
        f"{file.path}: the top level is one object: write a list of objects, or one object a line"
    )


def _is_whole(head: bytes) -> bool:
    try:
        json.loads(head)
    except ValueError:
        return False
    return True
