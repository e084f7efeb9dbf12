"""The parallel stage of a preparation: records screened, sketched and made into trees. Has no state."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from medray.config.data import DataConfig
from medray.config.prepare import DuplicatesConfig
from medray.data.loading.mixture import copies
from medray.data.parsing.text import all_text
from medray.data.pipelines.minhash import sketch
from medray.data.pipelines.schema import KEPT_COLUMNS
from medray.data.pipelines.screening import Screen
from medray.data.prepared.tables import tree_columns
from medray.data.schemas.canonical import canonical_record
from medray.data.source import RowError, Unrendered
from medray.errors import MedrayError
from medray.types import PromptTree, Record

COUNTS = ("num_copies", "cut_tokens", "dropped_messages", "lost_thoughts", "unclosed_thoughts")
"""Columns of a tokenised row with a number each."""


class Example(Protocol):
    """A tree made from a record, and what was left out of it."""

    @property
    def tree(self) -> PromptTree: ...
    @property
    def num_cut_tokens(self) -> int: ...
    @property
    def num_dropped_messages(self) -> int: ...
    @property
    def num_lost_thoughts(self) -> int: ...
    @property
    def num_unclosed_thoughts(self) -> int: ...


@dataclass(frozen=True)
class Steps:
    """What is done to every record: screens, rendering, tokenization, sketches for deduplication."""

    data: DataConfig
    screens: Sequence[Screen]
    to_examples: Callable[[Record], Iterable[Example]]
    columns: Sequence[str]
    """Columns of the continuations."""
    duplicates: DuplicatesConfig | None = None
    min_tokens: int = 0


@dataclass(slots=True)
class _Outcome:
    id: str = ""
    text: str = ""
    trees: Sequence[PromptTree] = ()
    num_copies: int = 0
    cut_tokens: int = 0
    dropped_messages: int = 0
    lost_thoughts: int = 0
    unclosed_thoughts: int = 0
    reason: str | None = None
    detail: str | None = None
    is_bad: bool = False


class TokeniseRows:
    """Tables of rows as read to tables of rows with their trees; made once a process."""

    def __init__(self, make: Callable[[], Steps]) -> None:
        self._steps = make()

    def __call__(self, table: pa.Table) -> pa.Table:
        """The same rows in the same order; a row that is left out has no trees and says why."""
        steps = self._steps
        rows = table.to_pylist()
        outcomes = [_outcome(row, steps) for row in rows]
        columns: dict[str, Any] = {name: table.column(name) for name in KEPT_COLUMNS}
        columns["reason"] = pa.array([o.reason for o in outcomes], pa.string())
        columns["detail"] = pa.array([o.detail for o in outcomes], pa.string())
        columns["bad"] = pa.array([o.is_bad for o in outcomes], pa.bool_())
        columns["id"] = pa.array([o.id for o in outcomes], pa.string())
        for name in COUNTS:
            columns[name] = pa.array([getattr(o, name) for o in outcomes], pa.int32())
        if steps.duplicates is not None:
            columns |= _sketches([o.text for o in outcomes], steps.duplicates)
        columns["trees"] = _nested([o.trees for o in outcomes], steps.columns)
        return pa.table(columns)


def _outcome(row: dict[str, Any], steps: Steps) -> _Outcome:
    if row["record"] is None:
        is_bad = row["mark"] is None and not row["left_out"]
        return _Outcome(reason=row["reason"], detail=row["detail"], is_bad=is_bad)
    record = canonical_record(json.loads(row["record"]), row["where"], steps.data)
    try:
        for screen in steps.screens:
            screen(record)
        examples = list(steps.to_examples(record))
        size = sum(example.tree.num_tokens for example in examples)
        if size < steps.min_tokens:
            raise RowError("too few tokens", f"{size}, min_tokens={steps.min_tokens}")
    except RowError as error:
        is_bad = isinstance(error, Unrendered)
        return _Outcome(record.id, reason=error.reason, detail=error.detail, is_bad=is_bad)
    except MedrayError as error:  # a screen's; raised, it would reach the driver without its type
        return _Outcome(record.id, reason="cannot be prepared", detail=str(error), is_bad=True)
    times = 1 if row["held_out"] else sum(1 for _ in copies(record, row["weight"], steps.data.seed))
    return _Outcome(
        record.id,
        all_text(record) if steps.duplicates is not None else "",
        [example.tree for example in examples],
        times,
        sum(example.num_cut_tokens for example in examples),
        sum(example.num_dropped_messages for example in examples),
        sum(example.num_lost_thoughts for example in examples),
        sum(example.num_unclosed_thoughts for example in examples),
    )


def _sketches(texts: Sequence[str], config: DuplicatesConfig) -> dict[str, Any]:
    keys, bytes_ = sketch(texts, config)
    return {
        "keys": pa.FixedSizeListArray.from_arrays(pa.array(keys.ravel()), config.num_bands),
        "sketch": pa.FixedSizeListArray.from_arrays(pa.array(bytes_.ravel()), config.num_hashes),
    }


def _nested(trees: Sequence[Sequence[PromptTree]], names: Sequence[str]) -> Any:
    """A list of trees for each row."""
    columns = tree_columns([tree for row in trees for tree in row], names)
    flat = pa.StructArray.from_arrays(list(columns.values()), list(columns))
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in trees], dtype=np.int64)])
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), flat)
