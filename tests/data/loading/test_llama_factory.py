"""LLaMA-Factory's `dataset_info.json`: its columns and tags are read as LLaMA-Factory reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medray.config.data import DataConfig
from medray.data.loading.mixture import open_source
from medray.data.parsing.turns import chat
from medray.data.source import Row
from medray.errors import DataError
from medray.types import Record

from ..helpers import write_jsonl

Q, GOOD, BAD = "I have a cold.", "Rest and drink.", "No idea."
TURNS = [{"role": "user", "content": Q}, {"role": "assistant", "content": GOOD}]
OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
}


def record(folder: Path, entry: dict[str, Any], row: dict[str, Any], **settings: Any) -> Record:
    write_jsonl(folder / "rows.jsonl", row)
    info = {"mine": {"file_name": "rows.jsonl", **entry}, "other": {"hf_hub_url": "o/n"}}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    [read] = open_source(DataConfig(path=str(folder), **settings)).rows
    assert isinstance(read, Row), read
    return read.record


@pytest.mark.parametrize("subset", [None, "mine"])
def test_alpaca_with_its_own_columns(tmp_path: Path, subset: str | None) -> None:
    columns = {"prompt": "frage", "query": "dazu", "response": "antwort", "system": "s"}
    row = {"frage": "Advise.", "dazu": Q, "antwort": GOOD, "s": "Be kind.", "label": 3}
    found = record(tmp_path, {"columns": columns}, row, subset=subset)
    assert found.messages == chat(system="Be kind.", user=f"Advise.\n{Q}", assistant=GOOD)


def test_sharegpt_with_its_own_tags(tmp_path: Path) -> None:
    entry = {"formatting": "sharegpt", "columns": {"messages": "verlauf"}, "tags": OPENAI_TAGS}
    assert record(tmp_path, entry, {"verlauf": TURNS}).messages == chat(user=Q, assistant=GOOD)


@pytest.mark.parametrize(
    ("entry", "row"),
    [
        ({"ranking": True, "columns": {"chosen": "good", "rejected": "bad"}},
         {"instruction": Q, "input": "", "good": GOOD, "bad": BAD}),
        ({"ranking": True}, {"instruction": Q, "output": [GOOD, BAD]}),
        ({"ranking": True, "formatting": "sharegpt", "tags": OPENAI_TAGS,
          "columns": {"messages": "m", "chosen": "good", "rejected": "bad"}},
         {"m": TURNS[:1], "good": TURNS[1], "bad": {"role": "assistant", "content": BAD}}),
    ],
    ids=["alpaca", "alpaca, both in one list", "sharegpt"],
)  # fmt: skip
def test_pairs(tmp_path: Path, entry: dict[str, Any], row: dict[str, Any]) -> None:
    found = record(tmp_path, entry, row)
    assert found.messages == chat(user=Q)
    assert (found.chosen, found.rejected) == (chat(assistant=GOOD), chat(assistant=BAD))


def test_labels(tmp_path: Path) -> None:
    entry = {"columns": {"kto_tag": "ok"}}
    found = record(tmp_path, entry, {"instruction": Q, "output": BAD, "ok": False})
    assert found.rejected == chat(assistant=BAD)


def test_the_file_itself_and_what_it_does_not_hold(tmp_path: Path) -> None:
    record(tmp_path, {"num_samples": 1}, {"instruction": Q, "output": GOOD})
    path = str(tmp_path / "dataset_info.json")
    assert len(list(open_source(DataConfig(path=path, subset="mine")).rows)) == 1
    with pytest.raises(DataError, match=r"set data\.subset to one of mine, other"):
        open_source(DataConfig(path=path))
    with pytest.raises(DataError, match=r"set data\.subset to one of mine, other"):
        open_source(DataConfig(path=path, subset="none"))
