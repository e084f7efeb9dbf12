"""Parquet, a few rows at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from medray.data.files.data_file import DataFile, RawRow, raw_row
from medray.data.files.opening import Digests
from medray.data.parsing.nulls import without_nulls
from medray.errors import DataError

_BATCH_ROWS = 256


def read_parquet(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The rows of `file` as they were before Arrow padded them: see `without_nulls`.

    Raises:
        DataError: the file is not Parquet, or is damaged.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(file.path) as opened:
            for batch in opened.iter_batches(batch_size=_BATCH_ROWS):
                for fields in batch.to_pylist():
                    number += 1
                    yield raw_row(file, number, without_nulls(fields))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        text = str(error).splitlines()[0]
        raise DataError(f"{file.path}: not readable as Parquet ({text}): write it again") from None
    except OSError as error:
        raise DataError(f"{file.path} cannot be read: {error}") from error
    if digests is not None:
        with file.path.open("rb") as stream:
            digests[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
