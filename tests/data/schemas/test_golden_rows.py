"""Every schema: its golden row becomes the expected record, is recognised, and trains the stages it is listed for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medray.config.data import DataConfig
from medray.data.detection import row_schemas
from medray.data.loading.mixture import open_source
from medray.data.loading.stages import fits
from medray.data.registry import SCHEMAS, find_schema
from medray.data.schema import RowSchema
from medray.data.source import Row

from ..helpers import write_jsonl
from .golden import GOLDEN, Golden

NAMED = ("choice-shuffled", "message-tree-pairs")
"""Schemas that read the rows of others in another way: only `data.kind` asks for them."""
FOUND = [golden for golden in GOLDEN if golden.kind not in NAMED]
by_kind = pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.kind)


def read(path: Path, kind: str) -> Row:
    [row] = open_source(DataConfig(kind=kind, path=str(path))).rows
    assert isinstance(row, Row), row
    return row


@by_kind
def test_the_row_becomes_the_record(tmp_path: Path, golden: Golden) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", golden.row)
    row = read(path, golden.kind)
    expected = replace(
        golden.record,
        id=golden.record.id or "rows.jsonl:1",
        source=golden.record.source or "rows.jsonl",
        group_id=row.record.group_id,
    )
    assert row.record == expected
    assert row.where == f"{path}:1"
    assert row.record.group_id or golden.kind == "medray"


@pytest.mark.parametrize("golden", FOUND, ids=lambda golden: golden.kind)
def test_the_row_is_recognised(tmp_path: Path, golden: Golden) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", golden.row)
    assert read(path, "auto").record == read(path, golden.kind).record


@by_kind
def test_the_row_trains_the_stages_of_its_schema(tmp_path: Path, golden: Golden) -> None:
    schema = find_schema(golden.kind)
    assert isinstance(schema, RowSchema)
    record = read(write_jsonl(tmp_path / "rows.jsonl", golden.row), golden.kind).record
    if golden.kind == "medray":  # carries any stage; this row is a pair
        assert {stage for stage in schema.stages if fits(record, stage)} >= {"preference", "kto"}
    elif golden.kind == "kto":  # an undesirable answer is no demonstration
        assert fits(record, "kto")
        assert not fits(record, "sft")
    else:
        assert [stage for stage in schema.stages if not fits(record, stage)] == []


def test_every_schema_of_rows_has_a_golden_row() -> None:
    kinds = {schema.name for schema in row_schemas()}
    assert kinds == {golden.kind for golden in GOLDEN}
    assert len(GOLDEN) == len(kinds)


def test_schemas_are_registered_under_their_own_names() -> None:
    for name in SCHEMAS:
        schema = find_schema(name)
        assert not isinstance(schema, RowSchema) or schema.name == name


def test_rows_of_one_group_are_told_by_the_group_key(tmp_path: Path) -> None:
    chats = [
        {"patient": patient, "conversations": [{"from": "human", "value": text}]}
        for patient, text in ((7, "a"), (7, "b"), ("8", "a"))
    ]
    path = write_jsonl(
        tmp_path / "rows.jsonl", *chats, {"conversations": chats[0]["conversations"]}
    )
    config = DataConfig(path=str(path), group_key="patient")
    *good, bad = open_source(config).rows
    assert [row.record.group_id for row in good if isinstance(row, Row)] == ["7", "7", "8"]
    assert str(bad) == (
        f"{path}:4: missing key: no 'patient'; add it or rename one (the row has 'conversations')"
    )
