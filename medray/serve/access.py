"""The access log: one JSON line a request, never a body, never a token."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ray.serve._private.logging_utils import get_serve_logs_dir

MAX_BYTES = 50_000_000
KEPT_FILES = 5


class AccessLog:
    """Appends to `path`, or beside Ray Serve's logs; rotated, each process its own file unless one is named."""

    def __init__(self, path: str | None) -> None:
        file = (
            Path(path).expanduser()
            if path
            else Path(get_serve_logs_dir()) / f"medray_access_{os.getpid()}.jsonl"
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        self._handler = RotatingFileHandler(
            file, maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8"
        )

    def write(self, facts: Mapping[str, object]) -> None:
        """Append one JSON line with the request's facts and the time (UTC)."""
        row = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}
        line = json.dumps(row, ensure_ascii=False, default=str)
        self._handler.emit(
            logging.LogRecord("medray.access", logging.INFO, "", 0, line, None, None)
        )
