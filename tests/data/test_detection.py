"""Folders of mixed schemas, and rows that no schema knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medray.config.data import DataConfig
from medray.data.detection import detect
from medray.data.loading.load import load_dataset
from medray.data.loading.mixture import open_source
from medray.data.loading.raw_rows import open_raw_rows
from medray.data.source import BadRow, Row
from medray.errors import DataError

from .helpers import write_jsonl

CHAT = {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}
MCQ = {"question": "?", "opa": "a", "opb": "b", "opc": "c", "opd": "d"}


def test_each_file_of_a_folder_has_its_own_schema(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "chats.jsonl", CHAT, CHAT)
    (tmp_path / "sub").mkdir()
    write_jsonl(tmp_path / "sub" / "pairs.jsonl",
                {**CHAT, "conversations": CHAT["conversations"][:1], "chosen": "x", "rejected": "y"})  # fmt: skip
    (tmp_path / "zh.csv").write_bytes(
        "department,title,ask,answer\n内科,头痛,头痛三天了怎么办,多休息多喝水\n".encode("gb18030")
    )
    (tmp_path / "book.txt").write_text("One.\n\nTwo.\n")
    rows = list(open_source(DataConfig(path=str(tmp_path))).rows)
    assert [(r.record.id, r.record.task) for r in rows if isinstance(r, Row)] == [
        ("book.txt:1", "text"),
        ("book.txt:3", "text"),
        ("chats.jsonl:1", "chat"),
        ("chats.jsonl:2", "chat"),
        ("zh.csv:2", "chat"),
        ("sub/pairs.jsonl:1", "preference"),
    ]


def test_later_rows_of_another_schema_are_bad_rows(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", CHAT, {"text": "x"})
    _, bad = open_source(DataConfig(path=str(path))).rows
    assert isinstance(bad, BadRow)
    assert str(bad).startswith(f"{path}:2: missing key: no 'conversations'")


def test_most_rows_decide(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", "{", {"messages": []}, CHAT, CHAT)
    [raw] = open_raw_rows(DataConfig(path=str(path)))
    assert detect(raw).name == "sharegpt"


@pytest.mark.parametrize(
    ("cops", "kind"), [([1, 2, 0], "medmcqa"), ([1, 2, 4], "medmcqa-original"), ([1, 2], "medmcqa")]
)
def test_the_releases_of_medmcqa_are_told_by_their_numbers(
    tmp_path: Path, cops: list[int], kind: str
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", *({**MCQ, "cop": cop} for cop in cops))
    [raw] = open_raw_rows(DataConfig(path=str(path)))
    assert detect(raw).name == kind


def test_pubmedqa_is_known_by_its_pmids(tmp_path: Path) -> None:
    article = {"QUESTION": "Q?", "CONTEXTS": ["c"], "final_decision": "yes"}
    (tmp_path / "ori_pqal.json").write_text(json.dumps({"11": article, "12": article}))
    (tmp_path / "test_ground_truth.json").write_text(json.dumps({"12": "yes"}))
    write_jsonl(tmp_path / "chats.jsonl", CHAT)
    dataset = load_dataset(DataConfig(path=str(tmp_path), num_eval=1))
    assert [r.id for r in dataset.held_out] == ["12"]
    assert {r.id for r in dataset.train} == {"11", "chats.jsonl:1"}
    assert set(dataset.report.digests) == {
        "ori_pqal.json",
        "test_ground_truth.json",
        "chats.jsonl",
    }


def test_rows_that_no_schema_knows(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"patient": 1, "note": "x"})
    message = r"a\.jsonl: no schema knows rows with the fields 'patient', 'note': rename .*medray data list"
    with pytest.raises(DataError, match=message):
        open_source(DataConfig(path=str(path)))


def test_a_file_of_nothing_but_bad_rows(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", "{", "[")
    with pytest.raises(DataError, match=r"a\.jsonl:1: bad JSON"):
        open_source(DataConfig(path=str(path)))
