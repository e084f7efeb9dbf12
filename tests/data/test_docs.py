"""docs/DATA.md: every schema is in it, and its examples are what the table says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medray.config.data import GENERATED_KINDS, DataConfig
from medray.data.detection import row_schemas
from medray.data.mixture import open_source
from medray.data.registry import SCHEMAS
from medray.data.source import Row
from medray.data.stages import fits

from .helpers import write_jsonl

TEXT = (Path(__file__).parents[2] / "docs" / "DATA.md").read_text(encoding="utf-8")
_, _, TABLE = TEXT.partition("## Schemas of rows")
LINES = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TABLE.splitlines()
    if line.startswith("| ") and "`" in line
]


def test_every_schema_is_documented() -> None:
    assert [cells[0] for cells in LINES] == [schema.name for schema in row_schemas()]
    for name in SCHEMAS:
        assert f"| {name} |" in TEXT or f"`{name}`" in TEXT
    assert all(f"| {name} |" in TEXT for name in GENERATED_KINDS)


def test_stages_are_those_of_the_schema() -> None:
    stages = {schema.name: ", ".join(schema.stages) for schema in row_schemas()}
    assert {cells[0]: cells[2] for cells in LINES} == stages


@pytest.mark.parametrize("cells", LINES, ids=lambda cells: cells[0])
def test_the_example_is_read_and_recognised(tmp_path: Path, cells: list[str]) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", json.loads(cells[3].strip("`")))
    [row] = open_source(DataConfig(path=str(path), kind=cells[0])).rows
    assert isinstance(row, Row), row
    assert any(fits(row.record, stage) for stage in ("pt", "sft", "preference", "kto", "rl"))
    [found] = open_source(DataConfig(path=str(path))).rows
    assert isinstance(found, Row)
    assert cells[0] == "choice-shuffled" or found.record == row.record
