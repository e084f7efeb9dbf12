"""docs/DATA.md: every schema is in it, its rows are what the table says, and its commands and settings work."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from medray.cli import app
from medray.config.data import GENERATED_KINDS, DataConfig
from medray.config.loader import load_config
from medray.config.prepare import PrepareJob
from medray.config.sft import SftJob
from medray.data.detection import row_schemas
from medray.data.loading.mixture import open_source
from medray.data.loading.stages import fits
from medray.data.registry import SCHEMAS
from medray.data.schemas.icd10_codes import code_table
from medray.data.source import Row
from medray.runs.tokenise import tokenise_dataset
from tests.support.prepare import prepare_for

from .helpers import write_jsonl

TEXT = (Path(__file__).parents[2] / "docs" / "DATA.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(yaml|python|)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    re.split(r" {2,}", line)[0] for kind, block in BLOCKS if not kind for line in block.splitlines()
]
_, _, TABLE = TEXT.partition("## Which schemas of rows are supported?")
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
    found, *_ = open_source(DataConfig(path=str(path))).rows
    assert isinstance(found, Row)
    assert cells[0] in ("choice-shuffled", "message-tree-pairs") or found.record == row.record


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the commands name."""
    monkeypatch.chdir(tmp_path)
    codes = code_table()[0]
    chats: list[Any] = [
        {"patient_id": i // 3, "conversations": [
            {"from": "human", "value": f"What is {code.code}?"}, {"from": "gpt", "value": code.meaning},
        ]}
        for i, code in enumerate(codes[:1600])
    ]  # fmt: skip
    pair = {"medray": 1, "id": "m1", "messages": [{"role": "user", "content": "Is it?"}]}
    pair |= {"chosen": [{"role": "assistant", "content": "Yes."}]}
    pair |= {"rejected": [{"role": "assistant", "content": "No."}]}
    (tmp_path / "chats").mkdir()
    write_jsonl(tmp_path / "chats" / "a.jsonl", *chats)
    write_jsonl(tmp_path / "chats.jsonl", *chats)
    write_jsonl(tmp_path / "pairs.jsonl", pair)
    write_jsonl(tmp_path / "notes.jsonl", *({"text": f"{c.code} is {c.meaning}"} for c in codes))
    return tmp_path


def runnable(command: str, model: Path) -> list[str]:
    """The words after `medray`, on the files of `home` and the tiny model."""
    words = shlex.split(command.replace("PATH...", "chats.jsonl").replace("DIR", "split"))[1:]
    words = [str(model) if word == "smollm2-135m" else word for word in words]
    if words[1] in ("render", "report") and "--model" not in words:
        words += ["--model", str(model)]
    return words


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("medray ")])
def test_the_command_works(command: str, home: Path, tiny_model: Path) -> None:
    if "prepared/sft" in command:
        data = {"path": "chats", "held_out_fraction": 0.0}
        settings = {"out": "prepared/sft", "data": data, "model": {"path": str(tiny_model)}}
        prepare_for(PrepareJob.model_validate(settings))
    result = CliRunner().invoke(app, runnable(command, tiny_model), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.output.strip()


def test_preparing_and_training_from_it_work_as_printed(home: Path, tiny_model: Path) -> None:
    """The jobs' own loops are tested with Ray; here, their settings and what the Python block reads."""
    prepare, train = (shlex.split(c) for c in COMMANDS if c.startswith("python "))
    model = f"model.path={tiny_model}"
    assert prepare[1] == "jobs/prepare_data.py"
    prepare_for(load_config(PrepareJob, None, [*prepare[2:], model, "data.held_out_fraction=0.1"]))
    assert train[1] == "jobs/sft.py"
    rows = tokenise_dataset("sft", load_config(SftJob, None, [*train[2:], model]))
    assert len(rows.train) > 1000
    block, _ = [text for kind, text in BLOCKS if kind == "python"]
    names: dict[str, Any] = {}
    exec(block, names)
    assert len(names["trees"]) > 100
    assert names["tree"].num_tokens == rows.train[1000].num_tokens


def test_a_schema_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, block = [text for kind, text in BLOCKS if kind == "python"]
    (tmp_path / "your_letters.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    path = write_jsonl(tmp_path / "letters.jsonl", {"letter_text": "Dear colleague"})
    [row] = open_source(DataConfig(path=str(path), kind="your_letters:SCHEMA")).rows
    assert isinstance(row, Row)
    assert row.record.text == "Dear colleague"


def test_the_settings_are_accepted() -> None:
    blocks = [text for kind, text in BLOCKS if kind == "yaml"]
    examples = [e for b in blocks for e in re.split(r"^(?=data:)", b, flags=re.MULTILINE)[1:]]
    assert len(examples) == 7
    for example in examples:
        SftJob.model_validate(yaml.safe_load(example))
