"""From a `DataConfig` to records: read, check, split by group, cap, and report every row's fate."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from medray.config.data import DataConfig
from medray.data.registry import find_schema
from medray.data.source import BadRow, Row, Source
from medray.errors import DataError
from medray.types import Record

log = logging.getLogger(__name__)
MAX_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows dropped for one reason, with the first few of them as `file:line: what is wrong`."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of every row.

    num_read = num_kept + num_dropped; num_kept = num_train + num_held_out + num_unused.
    """

    source: str
    digests: Mapping[str, str]  # file or generator -> sha256
    num_read: int
    num_train: int
    num_held_out: int
    num_unused: int  # good rows beyond data.num_train and data.num_eval
    dropped: Mapping[str, Dropped] = field(default_factory=dict)  # by reason

    @property
    def num_dropped(self) -> int:
        """Rows that could not be used."""
        return sum(d.count for d in self.dropped.values())

    @property
    def num_kept(self) -> int:
        """Rows that became records."""
        return self.num_read - self.num_dropped

    @property
    def sha256(self) -> str:
        """The file's own digest, or one over all digests when several files were read."""
        if len(self.digests) == 1:
            return next(iter(self.digests.values()))
        listing = "\n".join(f"{name} {digest}" for name, digest in sorted(self.digests.items()))
        return hashlib.sha256(listing.encode()).hexdigest()

    def summary(self) -> str:
        """One line for people."""
        drops = "".join(
            f"; dropped {drop.count} ({reason}, e.g. {drop.examples[0]})"
            for reason, drop in self.dropped.items()
        )
        return (
            f"{self.source}: {self.num_read} rows, {self.num_train} train,"
            f" {self.num_held_out} held out, {self.num_unused} unused{drops}"
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """Records of both sides of the split; no group is on both."""

    train: tuple[Record, ...]
    held_out: tuple[Record, ...]
    report: LoadReport


def load_dataset(config: DataConfig) -> Dataset:
    """Read a dataset and split it.

    Without an official split, groups are put in an order drawn from `data.seed`; the held-out
    side takes whole groups from its front until it has `num_eval` records, the training side
    starts at its back. The order of a group depends on its id and the seed alone, so the split
    outlives reordered or added rows. Caps come after the split: what exceeds them is unused,
    never moved to the other side.

    Raises:
        ConfigError: `data.kind` is unknown.
        DataError: the file is missing or empty, a row is bad (`on_bad_row: error`), no row is
            good, or fewer records are there than `num_train` or `num_eval` ask for.
    """
    source = find_schema(config.kind)(config)
    rows, dropped = _collect(source, config)
    if not rows:
        example = next((f", e.g. {drop.examples[0]}" for drop in dropped.values()), "")
        raise DataError(f"{source.name}: no usable row{example}: correct the file or data.kind")
    train, held_out = _split(rows, source, config)
    _require_enough(source, config, num_train=len(train), num_held_out=len(held_out))
    train, held_out = train[: config.num_train], held_out[: config.num_eval]
    report = LoadReport(
        source=source.name,
        digests=dict(source.digests),
        num_read=len(rows) + sum(d.count for d in dropped.values()),
        num_train=len(train),
        num_held_out=len(held_out),
        num_unused=len(rows) - len(train) - len(held_out),
        dropped=dropped,
    )
    log.log(logging.WARNING if dropped else logging.INFO, "%s", report.summary())
    return Dataset(tuple(train), tuple(held_out), report)


def _collect(source: Source, config: DataConfig) -> tuple[list[Record], dict[str, Dropped]]:
    records: list[Record] = []
    seen: dict[str, str] = {}
    bad: dict[str, list[BadRow]] = {}
    for row in source.rows:
        fault = row if isinstance(row, BadRow) else _duplicate(row, seen)
        if fault is None:
            assert isinstance(row, Row)
            records.append(row.record)
        elif config.on_bad_row == "error":
            raise DataError(f"{fault} (data.on_bad_row=skip leaves such rows out)")
        else:
            bad.setdefault(fault.reason, []).append(fault)
    dropped = {
        reason: Dropped(len(rows), tuple(str(row) for row in rows[:MAX_EXAMPLES]))
        for reason, rows in bad.items()
    }
    return records, dropped


def _duplicate(row: Row, seen: dict[str, str]) -> BadRow | None:
    first = seen.setdefault(row.record.id, row.where)
    if first == row.where:
        return None
    detail = f"{row.record.id!r} is also at {first}; make ids unique"
    return BadRow(row.where, "repeated id", detail)


def _split(
    records: Iterable[Record], source: Source, config: DataConfig
) -> tuple[list[Record], list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.group_id or record.id, []).append(record)
    order = list(groups)
    if not source.is_ordered:
        order.sort(key=lambda group: _rank(group, config.seed))
    official = source.held_out_ids
    held_out: list[Record] = []
    train: list[Record] = []
    if official is not None:
        for group in order:
            members = groups[group]
            side = held_out if any(r.id in official for r in members) else train
            side += members
        return train, held_out
    taken = 0
    while taken < len(order) and len(held_out) < config.num_eval:
        held_out += groups[order[taken]]
        taken += 1
    for group in reversed(order[taken:]):
        train += groups[group]
    return train, held_out


def _rank(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode()).digest()


def _require_enough(
    source: Source, config: DataConfig, *, num_train: int, num_held_out: int
) -> None:
    total = num_train + num_held_out
    if num_held_out < config.num_eval:
        raise DataError(
            f"data.num_eval={config.num_eval} asks for more held-out records than the"
            f" {num_held_out} of {source.name}: set data.num_eval={num_held_out // 4} or less, or give more rows"
        )
    if num_train == 0 and source.held_out_ids is not None:
        raise DataError(f"{source.name}: all records are of the official test split: add more")
    if num_train == 0:
        raise DataError(
            f"data.num_eval={config.num_eval} leaves none of the {total} records of {source.name}"
            " to train on: lower data.num_eval, or give rows of more groups"
        )
    if config.num_train is not None and num_train < config.num_train:
        raise DataError(
            f"data.num_train={config.num_train} asks for more than the {num_train} training"
            f" records of {source.name} ({num_held_out} are held out): set data.num_train={num_train} or less"
        )
