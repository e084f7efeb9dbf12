"""Records to files of medray's own rows: JSON Lines, also packed, or Parquet."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from medray.data.schemas.canonical import record_to_row
from medray.errors import ConfigError
from medray.storage.atomic import atomic_file
from medray.types import Record

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_BATCH_ROWS = 1024
_JSON_FIELDS = ("tools", "extra")


class RecordWriter(Protocol):
    """Takes records one at a time."""

    def write(self, record: Record) -> None:
        """Write one record in the writer's format."""
        ...


@contextlib.contextmanager
def open_writer(path: Path) -> Iterator[RecordWriter]:
    """A writer for `path`, which appears whole when the block ends well; the suffix says the format.

    The same records give the same bytes.

    Raises:
        ConfigError: the suffix is not one of `SUFFIXES`.
        ResourceError: the disk is full.
    """
    require_suffix(path)
    with atomic_file(path) as temporary:
        if path.name.endswith(".parquet"):
            with contextlib.closing(_ParquetRecords(temporary)) as writer:
                yield writer
        else:
            with temporary.open("wb") as raw, _packed(raw, path) as stream:
                yield _JsonLines(stream)


def require_suffix(path: Path) -> None:
    """Refuse a name that does not end in one of `SUFFIXES`."""
    if not path.name.endswith(SUFFIXES):
        raise ConfigError(f"--out {path}: the file name must end in {', '.join(SUFFIXES)}")


def _packed(raw: BinaryIO, path: Path) -> contextlib.AbstractContextManager[Any]:
    if path.name.endswith(".gz"):
        return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)
    return contextlib.nullcontext(raw)


class _JsonLines:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, record: Record) -> None:
        line = json.dumps(record_to_row(record), ensure_ascii=False)
        self._stream.write(line.encode("utf-8") + b"\n")


class _ParquetRecords:
    """Writes batches of rows whose columns do not depend on the rows."""

    def __init__(self, path: Path) -> None:
        from pyarrow.parquet import ParquetWriter

        self._schema = _arrow_schema()
        self._writer = ParquetWriter(path, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, record: Record) -> None:
        row = record_to_row(record)
        for name in _JSON_FIELDS:
            if name in row:
                row[name] = json.dumps(row[name], ensure_ascii=False)
        for name in ("messages", "chosen", "rejected"):
            for turn in row.get(name, ()):
                if "tool_calls" in turn:
                    turn["tool_calls"] = json.dumps(turn["tool_calls"], ensure_ascii=False)
        self._rows.append(row)
        if len(self._rows) == _BATCH_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def _arrow_schema() -> Any:
    import pyarrow as pa

    text = pa.string()
    turn = pa.struct(
        [
            ("role", text),
            ("content", text),
            ("tool_calls", text),
            ("trained", pa.bool_()),
            ("name", text),
        ]
    )
    return pa.schema(
        [
            ("medray", pa.int8()),
            ("id", text),
            *((name, pa.list_(turn)) for name in ("messages", "chosen", "rejected")),
            ("options", pa.list_(text)),
            ("steps", pa.list_(pa.struct([("content", text), ("label", pa.float64())]))),
            ("margin", pa.float64()),
            *(
                (name, text)
                for name in ("answer", "task", "lang", "source", "licence", "group_id", "text")
            ),
            *((name, text) for name in _JSON_FIELDS),
        ]
    )
