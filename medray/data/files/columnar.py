"""Files of columns, read a few rows at a time: Parquet, and Arrow or Feather as `datasets` and pandas write them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from medray.data.files.data_file import DataFile, RawRow, raw_row
from medray.data.files.opening import Digests
from medray.data.parsing.nulls import without_nulls
from medray.errors import DataError, first_line

_BATCH_ROWS = 256
"""Rows that are Python objects at a time."""


def read_parquet(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The rows of a Parquet file, as they were before Arrow padded them: see `without_nulls`.

    Raises:
        DataError: the file is not Parquet, or is damaged.
    """
    return _read(file, _parquet_batches, "Parquet", digests)


def read_arrow(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The same of an Arrow file.

    Raises:
        DataError: the file is not Arrow, or is damaged.
    """
    return _read(file, _arrow_batches, "Arrow", digests)


def _read(
    file: DataFile,
    batches: Callable[[Path], Iterator[Any]],
    format_name: str,
    digests: Digests | None,
) -> Iterator[RawRow]:
    import pyarrow as pa

    number = 0
    try:
        for batch in batches(file.path):
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                for fields in batch.slice(start, _BATCH_ROWS).to_pylist():
                    number += 1
                    yield raw_row(file, number, without_nulls(fields))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{file.path}: not readable as {format_name} ({first_line(error)}): write it again"
        ) from None
    except OSError as error:
        raise DataError(f"{file.path} cannot be read: {error}") from error
    if digests is not None:
        with file.path.open("rb") as stream:
            digests[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()


def _parquet_batches(path: Path) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as opened:
        yield from opened.iter_batches(batch_size=_BATCH_ROWS)


def _arrow_batches(path: Path) -> Iterator[Any]:
    """The batches of an Arrow file, which has an index at its end, or of an Arrow stream, which has none."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            opened = pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            yield from pa.ipc.open_stream(source)
            return
        for i in range(opened.num_record_batches):
            yield opened.get_batch(i)
