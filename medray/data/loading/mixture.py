"""What `data` as a whole reads: one dataset, several mixed by weight, and held-out rows in files of their own."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from medray.config.data import DataConfig, SourceConfig
from medray.data.registry import find_schema
from medray.data.source import BadRow, Row, Source
from medray.types import Record

_EVAL = "eval"


def open_source(config: DataConfig) -> Source:
    """Open what `config` names; rows are read as they are asked for.

    Of several datasets, the ids begin with the number of the source (`0/train.jsonl:7`), those of
    `data.eval_path` with `eval/`; its rows come first, marked as held out.
    """
    named = open_sources(config)
    if len(named) == 1:
        return next(iter(named.values()))
    official = [part.held_out_ids for part in named.values() if part.held_out_ids is not None]
    return Source(
        name=", ".join(part.name for part in named.values()),
        rows=itertools.chain.from_iterable(part.rows for part in named.values()),
        digests=_Digests({prefix: part.digests for prefix, part in named.items()}),
        held_out_ids=frozenset().union(*official) if official else None,
        notes=tuple(dict.fromkeys(note for part in named.values() for note in part.notes)),
    )


def open_sources(config: DataConfig) -> dict[str, Source]:
    """The datasets that `open_source` joins, by the beginning of their ids; "" for a single one."""
    if config.sources:
        parts = {str(i): _open_weighted(config, source) for i, source in enumerate(config.sources)}
    else:
        parts = {"": find_schema(config.kind)(config)}
    if config.eval_path is not None:
        changes = {"path": config.eval_path, "sources": (), "kind": config.kind}
        held_out = find_schema(config.kind)(config.model_copy(update=changes))
        parts = {_EVAL: replace(held_out, rows=_marked(held_out.rows)), **parts}
    if len(parts) == 1:
        return {"": next(iter(parts.values()))}
    return {prefix: _prefixed(part, prefix) if prefix else part for prefix, part in parts.items()}


def copies(record: Record, weight: float, seed: int) -> Iterator[Record]:
    """The record as often as an epoch takes it.

    The whole part of `weight` copies, and one more for a share of the records equal to its fraction, drawn
    by the seed and the record's id. Copies after the first have `#2`, `#3` ... behind their ids.
    """
    count = int(weight)
    if weight > count and _uniform(f"{seed}\0weight\0{record.id}") < weight - count:
        count += 1
    for number in range(1, count + 1):
        yield record if number == 1 else replace(record, id=f"{record.id}#{number}")


def _open_weighted(config: DataConfig, source: SourceConfig) -> Source:
    settings = source.model_dump(exclude={"weight", "max_rows"})
    opened = find_schema(source.kind)(config.model_copy(update={**settings, "sources": ()}))
    return replace(opened, rows=_weighted(opened.rows, source), is_ordered=False)


def _weighted(rows: Iterable[Row | BadRow], source: SourceConfig) -> Iterator[Row | BadRow]:
    num_good = 0
    for row in rows:
        if isinstance(row, Row):
            num_good += 1
            row = replace(row, weight=source.weight)
        yield row
        if num_good == source.max_rows:
            return


def _marked(rows: Iterable[Row | BadRow]) -> Iterator[Row | BadRow]:
    for row in rows:
        yield replace(row, is_held_out=True) if isinstance(row, Row) else row


def _prefixed(source: Source, prefix: str) -> Source:
    def rows() -> Iterator[Row | BadRow]:
        for row in source.rows:
            if isinstance(row, Row):
                row = replace(row, record=replace(row.record, id=f"{prefix}/{row.record.id}"))
            yield row

    official = source.held_out_ids
    renamed = None if official is None else frozenset(f"{prefix}/{name}" for name in official)
    return replace(source, rows=rows(), held_out_ids=renamed)


class _Digests(Mapping[str, str]):
    """The digests of several sources, by `prefix/name`; they fill up as the sources are read."""

    def __init__(self, parts: Mapping[str, Mapping[str, str]]) -> None:
        self._parts = parts

    def _merged(self) -> dict[str, str]:
        return {
            f"{prefix}/{name}" if prefix else name: digest
            for prefix, digests in self._parts.items()
            for name, digest in digests.items()
        }

    def __getitem__(self, name: str) -> str:
        return self._merged()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._merged())

    def __len__(self) -> int:
        return len(self._merged())


def _uniform(key: str) -> float:
    """A number in [0, 1) that the key alone decides."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big") / 2**56
