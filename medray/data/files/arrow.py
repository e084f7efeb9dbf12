"""Arrow and Feather files, as `datasets.save_to_disk` and pandas write them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from medray.data.files.data_file import DataFile, RawRow, raw_row
from medray.data.files.opening import Digests
from medray.data.parsing.nulls import without_nulls
from medray.errors import DataError

_BATCH_ROWS = 256


def read_arrow(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The rows of `file`, a few at a time, as they were before Arrow padded them.

    Raises:
        DataError: the file is not Arrow, or is damaged.
    """
    import pyarrow as pa

    number = 0
    try:
        with pa.memory_map(str(file.path)) as source:
            for batch in _batches(source):
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    for fields in batch.slice(start, _BATCH_ROWS).to_pylist():
                        number += 1
                        yield raw_row(file, number, without_nulls(fields))
    except pa.ArrowInvalid as error:
        text = str(error).splitlines()[0]
        raise DataError(f"{file.path}: not readable as Arrow ({text}): write it again") from None
    except OSError as error:
        raise DataError(f"{file.path} cannot be read: {error}") from error
    if digests is not None:
        with file.path.open("rb") as stream:
            digests[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()


def _batches(source: Any) -> Iterator[Any]:
    """The batches of an Arrow file, which has an index at its end, or of an Arrow stream, which has none."""
    import pyarrow as pa

    try:
        opened = pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        yield from pa.ipc.open_stream(source)
        return
    for i in range(opened.num_record_batches):
        yield opened.get_batch(i)
