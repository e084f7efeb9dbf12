"""CSV and TSV with a header line, as RFC 4180 has them: quoted fields may hold commas and line ends."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator

from medray.data.files.data_file import DataFile, RawRow, raw_row
from medray.data.files.opening import Digests, open_text
from medray.data.source import RowError
from medray.errors import DataError


def read_table(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The rows of `file` as text by column, each at the line it begins on.

    Raises:
        DataError: there is no header, or it names a column twice or not at all.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with open_text(file, digests) as stream:
        delimiter = "\t" if file.format == "tsv" else ","
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                detail = f"{error}; quote fields that hold quotes, and double the quotes in them"
                yield raw_row(file, line, RowError("bad CSV", detail))
                continue
            if not values:
                continue
            if header is None:
                header = _header(values, file)
            else:
                yield raw_row(file, line, _fields(header, values))


def _header(values: list[str], file: DataFile) -> list[str]:
    names = [value.strip() for value in values]
    if "" in names:
        raise DataError(f"{file.path}:1: column {names.index('') + 1} has no name: name it")
    repeated = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if repeated is not None:
        raise DataError(f"{file.path}:1: two columns are called {repeated!r}: rename one")
    return names


def _fields(header: list[str], values: list[str]) -> dict[str, str] | RowError:
    if len(values) != len(header):
        return RowError(
            "wrong number of columns",
            f"{len(values)} fields for {len(header)} columns; quote fields that hold delimiters",
        )
    return dict(zip(header, values, strict=True))
