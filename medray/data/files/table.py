"""CSV and TSV as RFC 4180 has them: quoted fields may hold delimiters and line ends."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator

from medray.data.files.data_file import DataFile, RawRow, raw_row
from medray.data.files.opening import Digests, open_text
from medray.data.parsing.roles import option_columns, role_of
from medray.data.source import RowError
from medray.errors import DataError

_DELIMITERS = (",", ";", "\t", "|")
_INDEX = re.compile(r"unnamed: \d+|", re.IGNORECASE)
"""What pandas calls an index column that it wrote without a name."""
_USUAL = {
    "id", "source", "url", "title", "category", "subject", "topic", "department", "lang", "language", "date", "type",
    "group", "patient", "patient_id", "case", "case_id", "age", "sex", "gender", "name", "explanation", "exp",
}  # fmt: skip


def read_table(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The rows of `file` as text by column, each at the line it begins on.

    The delimiter is the one of `, ; | tab` that cuts the first line most often. An index column as pandas writes it,
    and columns without a name that are always blank, are left out.

    Raises:
        DataError: there is no header, or it names a column twice or not at all.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with open_text(file, digests) as stream:
        first = stream.readline()
        lines = _counted(first, stream)
        reader = csv.reader(lines, delimiter=_delimiter(first, file), strict=True)
        columns: _Columns | None = None
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
            if not any(values):
                continue
            if columns is None:
                columns = _Columns(values, file)
                if not file.is_headless:
                    continue
            fields = columns.fields(values)
            yield raw_row(file, line, fields, hides_names=columns.hides_names)


def looks_like_a_header(names: list[str]) -> bool:
    """True when one of the names is known: others may be a row, whose words are not to be printed."""
    known = sum(role_of(name) is not None or name.casefold() in _USUAL for name in names)
    return known > 0 or bool(option_columns(dict.fromkeys(names, "x")))


def _counted(first: str, stream: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from stream


def _delimiter(first: str, file: DataFile) -> str:
    if file.format == "tsv":
        return "\t"
    bare = re.sub(r'"[^"]*"', "", first)
    return max(_DELIMITERS, key=lambda d: (bare.count(d), d == ","))


class _Columns:
    """Which column holds which field."""

    def __init__(self, values: list[str], file: DataFile) -> None:
        self.hides_names = False
        if file.is_headless:
            self._names = [f"#{i}" for i in range(1, len(values) + 1)]
            return
        names = [value.strip() for value in values]
        blank = [i for i, name in enumerate(names) if _INDEX.fullmatch(name)]
        for i in blank:
            names[i] = ""
        named = [name for name in names if name]
        repeated = next((i for i, name in enumerate(names) if name and name in names[:i]), None)
        if repeated is not None:
            shown = f" ({names[repeated]!r})" if looks_like_a_header(named) else ""
            raise DataError(
                f"{file.place}:1: columns {names.index(names[repeated]) + 1} and {repeated + 1} have the same "
                f"name{shown}:"
                " rename one, or if there is no header line, refer to columns by number:"
                ' data.columns={question: "#1", answer: "#2"}'
            )
        if not named:
            raise DataError(f"{file.place}:1: no column has a name: write a header line")
        self._names = names
        self.hides_names = not looks_like_a_header(named)

    def fields(self, values: list[str]) -> dict[str, str] | RowError:
        """One row; blank cells of a column without a name, and the numbers of an index, are no fields."""
        names = self._names
        if len(values) > len(names) and not any(values[len(names) :]):
            values = values[: len(names)]
        if len(values) != len(names):
            return RowError(
                "wrong number of columns",
                f"{len(values)} fields for {len(names)} columns; quote fields that hold delimiters",
            )
        for i, (name, value) in enumerate(zip(names, values, strict=True)):
            if not name and value.strip() and not (i == 0 and value.strip().isdigit()):
                return RowError(
                    "unnamed column", f"column {i + 1} has no name and a value; name it"
                )
        return {name: value for name, value in zip(names, values, strict=True) if name}
