"""Small files for the loaders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medray.config.data import DataConfig
from medray.data.loading.mixture import open_source
from medray.data.loading.report import DropCounter
from medray.data.loading.rows import Side, Sides, checked_rows
from medray.data.loading.stages import Stage
from medray.types import Record


def write_jsonl(path: Path, *rows: Any) -> Path:
    """One line a row: text and bytes as they are, all else as JSON."""
    lines = []
    for row in rows:
        if isinstance(row, bytes):
            lines.append(row)
        elif isinstance(row, str):
            lines.append(row.encode())
        else:
            lines.append(json.dumps(row, ensure_ascii=False).encode())
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def records_of(
    config: DataConfig, side: Side = "train", *, stage: Stage | None = None
) -> Iterator[Record]:
    """The records of one side, in the order of the files."""
    source = open_source(config)
    sides = Sides(config, source.held_out_ids)
    for row in checked_rows(source.rows, config, DropCounter(), stage):
        if sides.of(row) == side:
            yield row.record
