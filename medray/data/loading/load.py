"""From a `DataConfig` to records: read, check, split by group, cap, and report every row's fate."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from medray.config.data import DataConfig
from medray.data.loading.mixture import copies, open_source
from medray.data.loading.report import DropCounter, Dropped, LoadReport
from medray.data.loading.rows import checked_rows
from medray.data.loading.shares import Passes, passes_of
from medray.data.loading.split import group_of, rank
from medray.data.loading.stages import Stage, labelled
from medray.data.source import BadRow, Row, Source
from medray.errors import DataError
from medray.types import Record

__all__ = ["Dataset", "Dropped", "LoadReport", "load_dataset"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Records of both sides of the split; no group is on both."""

    train: tuple[Record, ...]
    held_out: tuple[Record, ...]
    report: LoadReport
    places: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where a record stands (`file:line`), by its id, of those whose ids are their own."""


def load_dataset(config: DataConfig, *, stage: Stage | None = None) -> Dataset:
    """Read a dataset, or the mixture of `data.sources`, and split it.

    Without an official split, groups are put in an order drawn from `data.seed`; the held-out
    side takes whole groups from its front until it has `num_eval` records, the training side
    starts at its back. The order of a group depends on its id and the seed alone, so the split
    outlives reordered or added rows. Training records of a source then come as often as its weight
    says. Caps come after the split: what exceeds them is unused, never moved to the other side.

    Args:
        config: what to read.
        stage: give every record as this stage reads it; rows that it cannot use are bad rows.

    Raises:
        ConfigError: `data.kind` is unknown.
        DataError: the file is missing or empty, a row is bad (`on_bad_row: error`), no row is
            good, or fewer records are there than `num_train` or `num_eval` ask for.
    """
    source = open_source(config)
    rows, dropped = _collect(source, config, stage)
    if not rows:
        example = next((f", e.g. {drop.examples[0]}" for drop in dropped.values()), "")
        raise DataError(f"{source.name}: no usable row{example}: correct the file or data.kind")
    train_rows, held_out_rows = _split(rows, source, config)
    passes, mixed = passes_of(train_rows, config)
    train, num_repeated = _repeat(train_rows, passes, config.seed)
    _require_enough(source, config, num_train=len(train), num_held_out=len(held_out_rows))
    train = train[: config.num_train]
    held_out = [row.record for row in held_out_rows[: config.num_eval]]
    report = LoadReport(
        source=source.name,
        digests=dict(source.digests),
        num_read=len(rows) + sum(d.count for d in dropped.values()),
        num_train=len(train),
        num_held_out=len(held_out),
        num_unused=len(rows) + num_repeated - len(train) - len(held_out),
        dropped=dropped,
        num_repeated=num_repeated,
        notes=(*source.notes, *mixed, *_label_notes(train, stage)),
    )
    log.log(logging.WARNING if dropped or report.notes else logging.DEBUG, "%s", report.summary())
    places = {row.record.id: row.where for row in rows if row.record.id != row.where}
    return Dataset(tuple(train), tuple(held_out), report, places)


def _collect(
    source: Source, config: DataConfig, stage: Stage | None
) -> tuple[list[Row], dict[str, Dropped]]:
    dropped = DropCounter()
    rows = checked_rows(without_repeated_ids(source.rows), config, dropped, stage)
    return list(rows), dropped.by_reason()


def without_repeated_ids(rows: Iterable[Row | BadRow]) -> Iterator[Row | BadRow]:
    """The rows, those with an id that was there before as bad ones.

    Ids that are places (`name:line`) are unique as they are, and need no memory.
    """
    seen: dict[str, str] = {}
    for row in rows:
        if isinstance(row, Row) and not f"/{row.where}".endswith(f"/{row.record.id}"):
            first = seen.setdefault(row.record.id, row.where)
            if first != row.where:
                detail = f"{row.record.id!r} is also at {first}; make ids unique"
                row = BadRow(row.where, "repeated id", detail)
        yield row


def _label_notes(records: Sequence[Record], stage: Stage | None) -> tuple[str, ...]:
    """A note where all labels are the same: KTO learns from what separates the two."""
    labels = {desirable for record in records for _, desirable in labelled(record)}
    if stage != "kto" or len(labels) != 1:
        return ()
    return (
        f"all {len(records)} labels are {str(labels.pop()).lower()}: KTO learns from both kinds",
    )


def _split(rows: Iterable[Row], source: Source, config: DataConfig) -> tuple[list[Row], list[Row]]:
    """Training and held-out rows, each in the order that the seed draws."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(group_of(row.record), []).append(row)
    order = list(groups)
    if not source.is_ordered:
        order.sort(key=lambda group: rank(group, config.seed))
    official = source.held_out_ids or frozenset[str]()
    chosen = {
        group
        for group, members in groups.items()
        if any(row.is_held_out or row.record.id in official for row in members)
    }
    held_out = [row for group in order if group in chosen for row in groups[group]]
    rest = [group for group in order if group not in chosen]
    if source.held_out_ids is None and config.eval_path is None:
        taken = 0
        while taken < len(rest) and len(held_out) < config.num_eval:
            held_out += groups[rest[taken]]
            taken += 1
        rest = rest[taken:][
            ::-1
        ]  # from the back, so that more held-out rows cost the last training rows
    return [row for group in rest for row in groups[group]], held_out


def _repeat(rows: list[Row], passes: Passes, seed: int) -> tuple[list[Record], int]:
    """Each record as often as `passes` says, and how many are copies of another."""
    if all(passes(row) == 1.0 for row in rows):
        return [row.record for row in rows], 0
    taken = [list(copies(row.record, passes(row), seed)) for row in rows]
    records = [record for group in taken for record in group]
    records.sort(key=lambda record: rank(record.id, seed))  # copies apart, so that a cap stays fair
    return records, sum(len(group) - 1 for group in taken if group)


def _require_enough(
    source: Source, config: DataConfig, *, num_train: int, num_held_out: int
) -> None:
    total = num_train + num_held_out
    if num_held_out < config.num_eval:
        raise DataError(
            f"data.num_eval={config.num_eval} asks for more held-out records than the"
            f" {num_held_out} of {source.name}: set data.num_eval={num_held_out // 4} or less, or add rows"
        )
    if num_train == 0 and source.held_out_ids is not None:
        raise DataError(
            f"{source.name}: all records belong to the official test split: add training records"
        )
    if num_train == 0:
        raise DataError(
            f"data.num_eval={config.num_eval} leaves none of the {total} records of {source.name}"
            " to train on: lower data.num_eval, or use data with more groups"
        )
    if config.num_train is not None and num_train < config.num_train:
        raise DataError(
            f"data.num_train={config.num_train} asks for more than the {num_train} training"
            f" records of {source.name} ({num_held_out} are held out): set data.num_train={num_train} or less"
        )
