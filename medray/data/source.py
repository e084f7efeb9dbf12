"""What a schema hands to the loader: located rows, good or bad, and where they came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from medray.config.data import DataConfig
from medray.types import Record


@dataclass(frozen=True, slots=True)
class Row:
    """A usable row.

    `where` is `file:line` (in Parquet the number of the row), or what else finds it again. `weight` is how
    many times an epoch of the mixture takes it when it is trained on. `is_held_out` marks a row of
    `data.eval_path`.
    """

    where: str
    record: Record
    weight: float = 1.0
    is_held_out: bool = False


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used.

    `reason` is a short phrase that rows are counted by ("missing key"); `detail` says what is
    wrong with this one and what to do. `is_left_out` marks a row that is sound and says nothing to train on (a tie
    between two answers): it is counted, and never stops a job.
    """

    where: str
    reason: str
    detail: str
    is_left_out: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Source:
    """An opened dataset.

    `rows` is consumed once. `digests` maps each file (or generator) read to the sha256 of its
    bytes, and is complete once all rows are consumed. `held_out_ids` is an official held-out split
    by record id; None leaves the split to the loader. `is_ordered` says that rows already come in
    an order drawn from `data.seed`, so the loader keeps it. `notes` are what a person should know of how it is read:
    encodings, fields that are left aside, files that are passed over.
    """

    name: str
    rows: Iterable[Row | BadRow]
    digests: Mapping[str, str]
    held_out_ids: frozenset[str] | None = None
    is_ordered: bool = False
    notes: tuple[str, ...] = ()


class Schema(Protocol):
    """Turns a dataset of one layout into records. File-level problems raise `DataError`."""

    def __call__(self, config: DataConfig, /) -> Source: ...


class RowError(Exception):
    """Raised inside a schema's row parser; becomes a `BadRow` with the row's place."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Unrendered(RowError):
    """Raised for a dialogue that the chat template refuses, or writes so that nobody can tell who wrote what."""

    def __init__(self, detail: str) -> None:
        super().__init__("cannot be rendered", detail)


class LeftOut(RowError):
    """Raised for a sound row that holds nothing to train on; it is counted, and never stops a job."""
