"""Small files for the loaders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


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
