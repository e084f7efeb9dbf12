"""Answers of batch inference as a file: JSON Lines or Parquet, the same columns in both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medray.storage.atomic import atomic_file

_BATCH_ROWS = 1024


def write_answers(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows` whole or not at all; in Parquet the input's row is JSON text, and ids are text."""
    with atomic_file(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(temporary, rows)
            return
        with temporary.open("w", encoding="utf-8") as stream:
            for row in rows:
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_parquet(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    text, number = pa.string(), pa.int32()
    kinds = {"id": text, "sample": number, "response": text, "finish_reason": text, "error": text}
    kinds |= {"num_prompt_tokens": number, "num_new_tokens": number, "row": text}
    schema = pa.schema(list(kinds.items()))
    batch: list[dict[str, Any]] = []
    with ParquetWriter(path, schema) as writer:
        for row in rows:
            encoded = json.dumps(row["row"], ensure_ascii=False)
            batch.append({**row, "id": str(row["id"]), "row": encoded})
            if len(batch) == _BATCH_ROWS:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
