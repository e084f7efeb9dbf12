"""Every kind of file that people keep rows in: packed, archived, columnar, tables with oddities, JSON objects."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import datasets
import openpyxl
import pyarrow as pa
import pytest

from medray.config.data import DataConfig, FileConfig
from medray.data.files.find import find_files, passed_over
from medray.data.files.reading import read_raw
from medray.data.loading.load import load_dataset
from medray.data.loading.mixture import open_source
from medray.data.source import BadRow, Row, RowError
from medray.errors import DataError

from ..helpers import write_jsonl

ROWS = [{"question": f"Was ist {i}?", "answer": f"「{i}」, so"} for i in range(4)]
TEXT = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
PLAIN = TEXT.encode()


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def fields(path: Path, **settings: Any) -> list[Any]:
    found = []
    for file in find_files(FileConfig(path=str(path), **settings)):
        for row in read_raw(file):
            fault = isinstance(row.fields, RowError)
            found.append(row.fields.reason if fault else row.fields)
    return found


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)],
)
def test_packed_files(tmp_path: Path, suffix: str, pack: Any) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(pack(PLAIN))
    assert fields(path) == ROWS
    path.write_bytes(pack(PLAIN) + pack(PLAIN))
    assert fields(path) == ROWS * 2
    path.write_bytes(pack(PLAIN * 99)[:-9])
    with pytest.raises(DataError, match=r"damaged packed data .*copy it again"):
        fields(path)


def test_a_zip_archive_is_the_files_in_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/one.jsonl", PLAIN)
        archive.writestr("README.md", "x")
        archive.writestr("two.csv", "question,answer\nq,a\n")
    assert fields(path) == [*ROWS, {"question": "q", "answer": "a"}]
    [row, *_] = open_source(DataConfig(path=str(path))).rows
    assert isinstance(row, Row)
    assert row.where == f"{path}/a/one.jsonl:1"


def test_arrow_and_feather(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(tmp_path / "b.feather", table.schema) as writer:
        writer.write_table(table)
    assert fields(tmp_path) == ROWS * 2
    (tmp_path / "c.arrow").write_bytes(b"no arrow")
    with pytest.raises(DataError, match=r"c\.arrow: not readable as Arrow"):
        fields(tmp_path / "c.arrow")


def test_folders_of_save_to_disk(tmp_path: Path) -> None:
    one = datasets.Dataset.from_list(ROWS)
    one.save_to_disk(tmp_path / "one")
    assert fields(tmp_path / "one") == ROWS
    both = datasets.DatasetDict(
        {"train": one, "test": datasets.Dataset.from_list([{**ROWS[0], "question": "held?"}])}
    )
    both.save_to_disk(tmp_path / "both")
    dataset = load_dataset(DataConfig(path=str(tmp_path / "both"), num_eval=1))
    assert [r.messages[0]["content"] for r in dataset.held_out] == ["held?"]
    assert len(dataset.train) == len(ROWS)


def test_a_workbook(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for line in (
        ["question", "answer", "n"],
        ["q", "a", 3],
        [None, None, None],
        ["q2", "a2", None],
    ):
        sheet.append(line)
    path = tmp_path / "rows.xlsx"
    book.save(path)
    assert fields(path) == [
        {"question": "q", "answer": "a", "n": 3},
        {"question": "q2", "answer": "a2"},
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["question", "answer"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows([{"question": "One, two; three?", "answer": "x|y"}])
    path = tmp_path / "rows.csv"
    path.write_text(text.getvalue())
    assert fields(path) == [{"question": "One, two; three?", "answer": "x|y"}]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (",question,answer\n0,q,a\n1,r,b\n", [{"question": "q", "answer": "a"}, {"question": "r", "answer": "b"}]),
        ("Unnamed: 0,question,answer\n0,q,a\n", [{"question": "q", "answer": "a"}]),
        ("question,answer,\nq,a,\n", [{"question": "q", "answer": "a"}]),
        ("question,answer\nq,a,\nr,b,,\n", [{"question": "q", "answer": "a"}, {"question": "r", "answer": "b"}]),
        ("question,answer,\nq,a,lost\n", ["unnamed column"]),
        ("question,answer\n\n , \nq,a\n", [{"question": " ", "answer": " "}, {"question": "q", "answer": "a"}]),
    ],
)  # fmt: skip
def test_oddities_of_tables(tmp_path: Path, content: str, expected: list[Any]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    assert fields(path) == expected


def test_a_table_without_a_header_prints_no_word_of_a_patient(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("Jane Roe has a fever,Rest\nJohn Doe coughs,Drink\n")
    with pytest.raises(
        DataError, match=r'in 2 columns: .*data\.columns=\{question: "#1"'
    ) as refusal:
        open_source(DataConfig(path=str(path)))
    [bad] = open_source(DataConfig(path=str(path), kind="sharegpt")).rows
    assert isinstance(bad, BadRow)
    for text in (str(refusal.value), str(bad)):
        assert "Jane" not in text
        assert "Rest" not in text
    columns = {"question": "#1", "answer": "#2"}
    rows = list(open_source(DataConfig(path=str(path), columns=columns)).rows)
    assert [row.record.answer for row in rows if isinstance(row, Row)] == ["Rest", "Drink"]


def test_chats_and_numbers_as_text_in_a_table(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["question", "options", "answer"])
        writer.writerow(["Which?", '["x", "y"]', "1"])
    [row] = open_source(DataConfig(path=str(path))).rows
    assert isinstance(row, Row)
    assert (row.record.options, row.record.answer) == (("x", "y"), "B")


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"data": ROWS}, ROWS),
        ({"version": "1.0", "name": "x", "data": ROWS}, ROWS),
        ({"train": ROWS[:3], "test": ROWS[3:]}, ROWS),
        ({"Patient 1": ROWS[0], "Patient 2": ROWS[1]}, [{"id": f"Patient {i + 1}", **ROWS[i]} for i in (0, 1)]),
        (ROWS, ROWS),
    ],
    ids=["data", "data with a version", "splits", "by id", "list"],
)  # fmt: skip
def test_json_objects(tmp_path: Path, content: Any, expected: Any, indent: int | None) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=False))
    assert fields(path) == expected


def test_an_object_that_is_a_row_stays_one(tmp_path: Path) -> None:
    row = {"data": ["问：头痛怎么办？", "答：请休息。"]}
    path = write_jsonl(tmp_path / "rows.json", row)
    assert fields(path) == [row]


def test_lists_named_after_splits_are_sides(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"train": ROWS[:3], "test": ROWS[3:]}))
    dataset = load_dataset(DataConfig(path=str(path), num_eval=1))
    assert [r.messages[0]["content"] for r in dataset.held_out] == [ROWS[3]["question"]]
    assert len(dataset.train) == 3


@pytest.mark.parametrize("folders", [False, True])
def test_files_named_after_splits_are_sides(tmp_path: Path, folders: bool) -> None:
    for name, rows in (("train", ROWS[:2]), ("validation", ROWS[2:3]), ("test", ROWS[3:])):
        path = tmp_path / (f"{name}/part-0.jsonl" if folders else f"{name}-00000-of-00001.jsonl")
        path.parent.mkdir(exist_ok=True)
        write_jsonl(path, *rows)
    dataset = load_dataset(DataConfig(path=str(tmp_path), num_eval=2))
    asked = {r.messages[0]["content"] for r in dataset.train}
    assert asked == {row["question"] for row in ROWS[:2]}
    assert len(dataset.held_out) == 2
    alone = tmp_path / ("test/part-0.jsonl" if folders else "test-00000-of-00001.jsonl")
    [row] = open_source(DataConfig(path=str(alone))).rows
    assert isinstance(row, Row)
    assert not row.is_held_out


def test_a_column_that_names_the_split_is_kept(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "rows.jsonl",
        *({**r, "split": "val" if i == 2 else "train"} for i, r in enumerate(ROWS)),
    )
    sides = [
        row.is_held_out
        for row in open_source(DataConfig(path=str(path))).rows
        if isinstance(row, Row)
    ]
    assert sides == [False, False, True, False]


def test_files_that_are_passed_over_are_named(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", *ROWS)
    for name in ("notes.docx", "README.md", "LICENSE"):
        (tmp_path / name).touch()
    config = DataConfig(path=str(tmp_path), num_eval=1)
    assert [path.name for path in passed_over(config)] == ["notes.docx"]
    assert (
        "1 files of no format that is read are passed over (notes.docx): save its text as .txt"
        in load_dataset(config).report.summary()
    )


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.pdf", "extract its text into .txt"),
        ("a.xls", "save it as .xlsx or .csv"),
        ("a.tar.gz", "unpack it"),
        ("a.pkl", "unpickling a file runs its code"),
        ("a.xyz", "give it the suffix of what it holds"),
    ],
)
def test_advice_helps(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=advice):
        fields(tmp_path / name)


def test_a_key_that_stands_twice_is_a_bad_row(tmp_path: Path) -> None:
    twice = '{"question": "q", "answer": "a", "answer": "b"}'
    nested = '{"question": {"a": 1, "a": 2}, "answer": "x"}'
    path = write_jsonl(tmp_path / "rows.jsonl", ROWS[0], twice, nested)
    assert fields(path) == [ROWS[0], "repeated key", "repeated key"]
    array = tmp_path / "rows.json"
    array.write_text(f"[{twice}, {json.dumps(ROWS[1], ensure_ascii=False)}]")
    assert fields(array) == ["repeated key", ROWS[1]]


def test_nulls_that_arrow_pads_with_are_gone(tmp_path: Path) -> None:
    calls = [
        {"name": "weather", "arguments": {"city": "Paris"}},
        {"name": "dose", "arguments": {"drug": "X", "kg": 3}},
    ]
    rows = [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]}
            for call in calls]  # fmt: skip
    write_jsonl(tmp_path / "a.jsonl", *rows)
    pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    found = [
        row.record.messages
        for row in open_source(DataConfig(path=str(tmp_path))).rows
        if isinstance(row, Row)
    ]
    assert found[:2] == found[2:]
    assert found[0][-1].get("tool_calls") == (calls[0],)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "gb18030", "shift_jis"])
def test_encodings_are_read_and_named(tmp_path: Path, suffix: str, encoding: str) -> None:
    said = (
        "患者は三日前から発熱があります"
        if encoding == "shift_jis"
        else "患者三天前开始发热，伴有咳嗽，既往体健"
    )
    rows = [{"question": f"{said} {i}?", "answer": said} for i in range(3)]
    if suffix == ".csv":
        content = "question,answer\n" + "".join(f"{r['question']},{r['answer']}\n" for r in rows)
    elif suffix == ".json":
        content = json.dumps(rows, ensure_ascii=False)
    else:
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(content.encode(encoding))
    assert fields(path) == rows
    summary = load_dataset(DataConfig(path=str(path), num_eval=1)).report.summary()
    assert f"read as {'cp932' if encoding == 'shift_jis' else encoding}" in summary
    assert fields(path, encoding=encoding) == rows
