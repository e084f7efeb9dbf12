"""The rows of a dataset in one order, cut into windows: the only stage of a preparation that has to be sequential."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from medray.config.prepare import PrepareJob
from medray.data.loading.mixture import open_sources
from medray.data.loading.rows import Sides, staged
from medray.data.pipelines.interleaving import expected_sizes, interleave
from medray.data.pipelines.schema import READ
from medray.data.schemas.canonical import record_to_row
from medray.data.source import BadRow, Row
from medray.errors import DataError

_BATCH_ROWS = 256
_BATCH_CHARACTERS = 1 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """Where a window ends: how many rows were read up to there, and a digest of all of them in their order."""

    num_read: int
    sha256: str


def read_windows(
    job: PrepareJob, *, first: int = 0, before: Window | None = None
) -> Iterator[pa.Table]:
    """The dataset as tables of `READ`, from window `first` on.

    A window ends after `shards.num_rows` rows or `shards.max_mb` of text, with a row whose `mark` is the JSON of a
    `Window`. The last row of all has the digests of the files as its mark.

    Args:
        job: what is read, and how it is cut.
        first: earlier windows are read too, and thrown away.
        before: the end of window `first - 1` as it was when it was first read.

    Raises:
        DataError: the rows before `first` are not those of `before`, or a file cannot be read on.
    """
    parts = open_sources(job.data)
    rows = interleave({name: part.rows for name, part in parts.items()}, expected_sizes(job.data))
    official = [part.held_out_ids for part in parts.values() if part.held_out_ids is not None]
    sides = Sides(job.data, frozenset().union(*official) if official else None)
    cut = _Cut(job)
    batch = _Batch()
    for line, end in cut.lines(_read_row(part, row, job, sides) for part, row in rows):
        if cut.window >= first:
            yield from batch.add(line | {"window": cut.window})
            if end is not None:
                yield from batch.end(cut.window, end)
        elif end is not None and cut.window == first - 1 and end != before:
            raise DataError(_CHANGED.format(out=job.out, rows=end.num_read))
    if cut.num_windows < first:
        raise DataError(_CHANGED.format(out=job.out, rows=cut.num_read))
    digests = {f"{name}/{file}" if name else file: digest for name, part in parts.items()
               for file, digest in part.digests.items()}  # fmt: skip
    names = {name: part.name for name, part in parts.items()}
    yield _table([_mark(cut.num_windows, {"sha256": digests, "sources": names})])


_CHANGED = (
    "{out} was begun with other data: its first {rows} rows are not what data names now; "
    "remove the folder to start over"
)


def _read_row(part: str, row: Row | BadRow, job: PrepareJob, sides: Sides) -> dict[str, Any]:
    """The row as `stage` reads it."""
    [row] = staged([row], job.stage)
    line: dict[str, Any] = dict.fromkeys(READ.names) | {"where": row.where, "part": part}
    if isinstance(row, BadRow):
        why = {"reason": row.reason, "detail": row.detail, "left_out": row.is_left_out}
        return line | why
    text = json.dumps(record_to_row(row.record), ensure_ascii=False)
    side = sides.of(row)
    return line | {"held_out": side == "held_out", "weight": row.weight, "record": text}


def _mark(window: int, mark: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(mark, ensure_ascii=False)
    return dict.fromkeys(READ.names) | {"window": window, "mark": text}


class _Cut:
    """Splits the line stream into windows of bounded size and hashes what it passes."""

    def __init__(self, job: PrepareJob) -> None:
        self._limits = job.shards
        self._sha256 = hashlib.sha256()
        self.window = 0
        self.num_windows = 0
        self.num_read = 0

    def lines(
        self, lines: Iterator[dict[str, Any]]
    ) -> Iterator[tuple[dict[str, Any], Window | None]]:
        """Each line, with the end of its window if it is the last one of it."""
        num_held, characters = 0, 0
        line = next(lines, None)
        while line is not None:
            following = next(lines, None)
            self._sha256.update((line["record"] or f"{line['where']}{line['reason']}").encode())
            self.num_read, num_held = self.num_read + 1, num_held + 1
            characters += len(line["record"] or "")
            is_full = num_held >= self._limits.num_rows or characters >= self._limits.max_mb << 20
            if is_full or following is None:
                self.num_windows = self.window + 1
                yield line, Window(self.num_read, self._sha256.hexdigest())
                self.window, num_held, characters = self.window + 1, 0, 0
            else:
                yield line, None
            line = following


class _Batch:
    """Rows held until they are worth a table."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []
        self._characters = 0

    def add(self, line: dict[str, Any]) -> Iterator[pa.Table]:
        self._lines.append(line)
        self._characters += len(line["record"] or "")
        if len(self._lines) >= _BATCH_ROWS or self._characters >= _BATCH_CHARACTERS:
            yield self._take()

    def end(self, window: int, end: Window) -> Iterator[pa.Table]:
        self._lines.append(_mark(window, {"num_read": end.num_read, "sha256": end.sha256}))
        yield self._take()

    def _take(self) -> pa.Table:
        lines, self._lines, self._characters = self._lines, [], 0
        return _table(lines)


def _table(lines: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(lines, schema=READ)
