from __future__ import annotations

from pathlib import Path

import pytest

from medray.config.data import DataConfig
from medray.data.loading.load import load_dataset
from medray.errors import DataError

from ..helpers import write_jsonl


def load(path: Path, **settings: object):
    return load_dataset(
        DataConfig.model_validate({"kind": "qa", "path": str(path), "num_eval": 0, **settings})
    )


def test_record_of_a_row(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "qa.jsonl", {"question": " 膺窗穴的定位是什么? ", "answer": "第3肋间隙"}
    )
    (record,) = load(path).train
    assert record.id == "qa.jsonl:1"
    assert record.messages == ({"role": "user", "content": "膺窗穴的定位是什么?"},)
    assert (record.answer, record.lang, record.task) == ("第3肋间隙", "zh", "qa")
    assert record.source == "qa.jsonl:1"
    assert record.options == ()


def test_optional_keys(tmp_path: Path) -> None:
    row = {"question": "1+1?", "answer": "2", "id": 5, "group": "sums", "lang": "zh", "note": "x"}
    (record,) = load(write_jsonl(tmp_path / "qa.jsonl", row)).train
    assert (record.id, record.group_id, record.lang) == ("5", "sums", "zh")


def test_byte_order_mark_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "qa.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"question": "a", "answer": "b"}\r\n\r\n{"question": "c", "answer": "d"}'
    )
    dataset = load(path)
    assert sorted(r.id for r in dataset.train) == ["qa.jsonl:1", "qa.jsonl:3"]
    assert dataset.report.num_read == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"question": "x", "answer": ', r"bad JSON: .* at column 29; write one JSON object"),
        ('{"question": "x" "answer": "y"}', r"bad JSON"),
        ("[" * 200_000, r"bad JSON"),
        ("[]", r"not an object: the line is a list"),
        ('"text"', r"not an object: the line is text"),
        ("null", r"not an object: the line is null"),
        ('{"question": "x"}', r"missing key: no 'answer'; add it .*\(the row has 'question'\)"),
        ("{}", r"missing key: no 'question'.*\(the row has none\)"),
        ('{"question": "x", "answer": ""}', r"empty value: 'answer' is blank"),
        ('{"question": "  ", "answer": "y"}', r"empty value: 'question' is blank"),
        ('{"question": "x", "answer": 3}', r"wrong type: 'answer' is a number; write text"),
        ('{"question": ["x"], "answer": "y"}', r"wrong type: 'question' is a list"),
        ('{"question": "x", "answer": null}', r"wrong type: 'answer' is null"),
        ('{"question": "x", "answer": true}', r"wrong type: 'answer' is true/false"),
        ('{"question": "x", "answer": "y", "lang": "fr"}', r"unknown language: 'lang' is 'fr'"),
        ('{"question": "x", "answer": "y", "id": []}', r"wrong type: 'id' is a list"),
        ('{"question": "\\ud800", "answer": "y"}', r"invalid Unicode: 'question'"),
        ("问题".encode("gb18030"), r"invalid UTF-8: byte 0 of the line is 0xce; re-save .* UTF-8"),
        (b'{"question": "\xff", "answer": "y"}', r"invalid UTF-8: byte 14 of the line is 0xff"),
    ],
)
def test_bad_rows_name_file_line_and_remedy(tmp_path: Path, row: str | bytes, message: str) -> None:
    good = {"question": "q", "answer": "a"}
    path = write_jsonl(tmp_path / "qa.jsonl", good, row, good)
    with pytest.raises(DataError, match=rf"qa\.jsonl:2: {message}"):
        load(path)
    report = load(path, on_bad_row="skip").report
    assert (report.num_read, report.num_dropped) == (3, 1)


def test_medicalgpt_sample(medray_data: Path) -> None:
    dataset = load(medray_data / "medicalgpt/grpo_sample.jsonl", num_eval=8)
    assert (len(dataset.train), len(dataset.held_out)) == (24, 8)
    assert sum(r.lang == "zh" for r in (*dataset.train, *dataset.held_out)) == 11
    assert dataset.report.num_dropped == 0
