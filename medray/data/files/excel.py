"""Excel workbooks (.xlsx): a header line and one row a line, of each sheet that has any."""

from __future__ import annotations

import datetime
import hashlib
import zipfile
from collections.abc import Iterator
from typing import Any

from medray.data.files.data_file import DataFile, RawRow, raw_row
from medray.data.files.opening import Digests
from medray.data.source import RowError
from medray.errors import DataError


def read_excel(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The rows of `file`; blank cells are absent, dates are ISO 8601 text. All sheets must have one header.

    Raises:
        DataError: openpyxl is not installed, the file is no workbook, or two sheets have different columns.
    """
    try:
        import openpyxl
    except ImportError:
        raise DataError(
            f"{file.path}: reading .xlsx needs openpyxl: pip install 'medray[excel]', or save the sheet as CSV"
        ) from None
    try:
        book = openpyxl.load_workbook(file.path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DataError(f"{file.path}: not readable as .xlsx ({error}): save it again") from None
    except OSError as error:
        raise DataError(f"{file.path} cannot be read: {error}") from error
    header: list[str] | None = None
    try:
        for sheet in book.worksheets:
            names: list[str] | None = None
            for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
                if all(cell is None for cell in cells):
                    continue
                if names is None:
                    names = _header(list(cells), file, sheet.title)
                    if header not in (None, names):
                        raise DataError(
                            f"{file.path}: its sheets have different columns: keep one sheet"
                        )
                    header = names
                    continue
                yield raw_row(file, number, _fields(names, list(cells)))
    finally:
        book.close()
    if digests is not None:
        with file.path.open("rb") as stream:
            digests[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()


def _header(cells: list[Any], file: DataFile, sheet: str) -> list[str]:
    while cells and cells[-1] is None:
        cells.pop()
    names = ["" if cell is None else str(cell).strip() for cell in cells]
    if "" in names:
        raise DataError(
            f"{file.path}: column {names.index('') + 1} of {sheet!r} has no name: give it one"
        )
    return names


def _fields(names: list[str], cells: list[Any]) -> dict[str, Any] | RowError:
    if any(cell is not None for cell in cells[len(names) :]):
        return RowError("wrong number of columns", f"{len(cells)} cells for {len(names)} columns")
    return {n: _value(cell) for n, cell in zip(names, cells, strict=False) if cell is not None}


def _value(cell: Any) -> Any:
    return cell.isoformat() if isinstance(cell, datetime.date | datetime.time) else cell
