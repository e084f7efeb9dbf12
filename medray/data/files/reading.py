"""Rows of a file, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator

from medray.data.files.columnar import read_arrow, read_parquet
from medray.data.files.data_file import DataFile, Format, RawRow
from medray.data.files.excel import read_excel
from medray.data.files.json_rows import begins_with_rows, holds_rows, read_json_rows
from medray.data.files.jsonl import parse_line, read_jsonl
from medray.data.files.opening import Digests, encoding_of, sample
from medray.data.files.table import read_table
from medray.data.files.text import read_text
from medray.errors import DataError

_READERS = {
    "jsonl": read_jsonl,
    "json": read_json_rows,
    "csv": read_table,
    "tsv": read_table,
    "parquet": read_parquet,
    "arrow": read_arrow,
    "excel": read_excel,
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
        raise DataError(f"{file.place} is empty: point data.path at a file with rows")


def actual_format(file: DataFile) -> Format:
    """The format, with .json and .txt told from JSON Lines by how they begin."""
    if file.format not in ("json", "text"):
        return file.format
    encoding = encoding_of(file)
    head = sample(file).decode(encoding, errors="replace").lstrip("\ufeff").lstrip()
    first_line, _, rest = head.partition("\n")
    first = parse_line(first_line.encode())
    is_row = isinstance(first, dict) and not (holds_rows(first) and not rest.strip())
    if is_row:
        return "jsonl"
    if file.format == "text" and not isinstance(first, dict) and not begins_with_rows(head):
        return "text"
    return "json"
