"""`metrics.jsonl`: one JSON object a line, the record every summary and report is made from.

A line is flat: `step`, `kind` ("train" or "eval"), `time` (ISO 8601, UTC), `wall_s` (seconds the
run has worked, resumes included), the metrics by name, and `nonfinite` with the names of values
that were NaN or infinite, which JSON cannot hold and which are written as null.
`pandas.read_json(path, lines=True)` reads it.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from medray.errors import DataError
from medray.storage.atomic import explain_full_disk, write_text

Kind = Literal["train", "eval"]
METRICS_FILE = "metrics.jsonl"
_OWN_KEYS = ("step", "kind", "time", "wall_s", "nonfinite")
_CLOCKED = ("rollout/tokens_per_s",)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One line of `metrics.jsonl`; values that were not finite are NaN in `metrics`."""

    step: int
    kind: Kind
    metrics: Mapping[str, float] = field(default_factory=dict)
    time: str = ""
    wall_s: float = 0.0

    def untimed(self) -> dict[str, float]:
        """The metrics that two equal runs share: all but seconds and what is divided by them."""
        return {
            name: value
            for name, value in self.metrics.items()
            if not name.startswith("time/") and not name.endswith("_per_s") and name not in _CLOCKED
        }


class JsonlSink:
    """Appends to `folder/metrics.jsonl`; every line is on disk when the call returns.

    Args:
        folder: the run folder; made if missing.
        resume_step: last step to keep of an earlier run; None starts the file anew.

    Raises:
        ResourceError: the disk is full; the file then ends with the last whole line.
    """

    def __init__(self, folder: str | Path, resume_step: int | None = None) -> None:
        self.path = Path(folder) / METRICS_FILE
        kept = [] if resume_step is None else _lines_up_to(self.path, resume_step)
        write_text(self.path, "".join(line + "\n" for line in kept))
        self._started_s = time.monotonic() - (
            json.loads(kept[-1]).get("wall_s", 0.0) if kept else 0.0
        )
        self._file = self.path.open("ab", buffering=0)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append the metrics of training step `step`."""
        self._append(step, "train", metrics)

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append held-out metrics of the policy after `step` steps."""
        self._append(step, "eval", metrics)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def _append(self, step: int, kind: Kind, metrics: Mapping[str, float]) -> None:
        row: dict[str, object] = {
            "step": step,
            "kind": kind,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "wall_s": round(time.monotonic() - self._started_s, 3),
        }
        nonfinite = []
        for name, value in metrics.items():
            if name in _OWN_KEYS:
                raise ValueError(
                    f"metric name {name!r} is a reserved key of {METRICS_FILE}: use area/{name}"
                )
            finite = math.isfinite(value)
            row[name] = float(value) if finite else None
            if not finite:
                nonfinite.append(name)
        if nonfinite:
            row["nonfinite"] = nonfinite
        line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"
        self._write_whole(line)

    def _write_whole(self, line: bytes) -> None:
        whole = os.fstat(self._file.fileno()).st_size
        with explain_full_disk(self.path, needed_bytes=len(line)):
            try:
                left = memoryview(line)
                while left:
                    left = left[self._file.write(left) :]
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(whole)
                raise


def read_metrics(folder: str | Path) -> list[MetricRow]:
    """The rows of `folder/metrics.jsonl` in file order; a half-written last line is left out.

    Raises:
        DataError: there is no such file, or a line that is not the last one is damaged.
    """
    path = Path(folder) / METRICS_FILE
    if not path.is_file():
        raise DataError(f"{path} does not exist: pass the run folder of a job")
    return [_row(json.loads(line)) for line in _whole_lines(path)]


def _row(line: Mapping[str, Any]) -> MetricRow:
    metrics = {
        name: math.nan if value is None else float(value)
        for name, value in line.items()
        if name not in _OWN_KEYS
    }
    kind: Kind = "eval" if line["kind"] == "eval" else "train"
    return MetricRow(int(line["step"]), kind, metrics, str(line["time"]), float(line["wall_s"]))


def _lines_up_to(path: Path, last_step: int) -> list[str]:
    if not path.is_file():
        return []
    return [line for line in _whole_lines(path) if json.loads(line)["step"] <= last_step]


def _whole_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    ended, tail = lines[:-1], lines[-1]
    whole = []
    for number, line in enumerate(ended, start=1):
        if not _is_row(line):
            if number == len(ended) and not tail:
                break
            raise DataError(
                f"{path}:{number}: not a metrics line: remove it, or use another run folder"
            )
        whole.append(line)
    if _is_row(tail):
        whole.append(tail)
    return whole


def _is_row(line: str) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and {"step", "kind", "time", "wall_s"} <= row.keys()
