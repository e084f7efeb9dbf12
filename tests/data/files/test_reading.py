"""Files of every format give the same rows, each at its line, and a bad row costs only itself."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.config.data import FileConfig
from medray.data.files.find import find_files
from medray.data.files.reading import read_raw
from medray.data.source import RowError
from medray.errors import DataError

ROWS = [{"question": f"Was ist {i}?\nGenau.", "answer": f"「{i}」, so"} for i in range(7)]


def read(path: Path, **settings: Any) -> list[tuple[int, Any]]:
    """(line, fields or reason) of each row of the one file at `path`."""
    [file] = find_files(FileConfig(path=str(path), **settings))
    found = []
    for row in read_raw(file):
        place, line = row.where.rsplit(":", 1)
        assert place == str(path)
        assert row.id == f"{path.name}:{line}"
        fault = isinstance(row.fields, RowError)
        found.append((int(line), row.fields.reason if fault else row.fields))
    return found


def fields(path: Path, **settings: Any) -> list[Any]:
    return [row for _, row in read(path, **settings)]


def encode(rows: list[dict[str, Any]], suffix: str) -> bytes:
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if suffix == ".json":
        return json.dumps(rows, ensure_ascii=False, indent=1).encode()
    if suffix == ".parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=3)
        return sink.getvalue()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter="\t" if suffix == ".tsv" else ",")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv"])
def test_every_text_format_gives_the_same_rows(tmp_path: Path, suffix: str, packed: bool) -> None:
    content = encode(ROWS, suffix)
    path = tmp_path / f"rows{suffix}{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert fields(path) == ROWS


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(encode(ROWS, ".parquet"))
    assert read(path) == list(enumerate(ROWS, start=1))


def test_fields_that_are_null_in_parquet_are_absent(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(encode([{"a": 1, "b": "x"}, {"a": None, "b": "y"}], ".parquet"))
    assert fields(path) == [{"a": 1, "b": "x"}, {"b": "y"}]


def test_lines_are_those_on_which_rows_begin(tmp_path: Path) -> None:
    jsonl, array, table = tmp_path / "a.jsonl", tmp_path / "a.json", tmp_path / "a.csv"
    jsonl.write_text('{"a": 1}\n\n{"a": 2}\n')
    array.write_text('[\n {"a":\n  1},\n\n {"a": 2}]\n')
    table.write_text('a,b\n"1\n1",x\n\n2,y\n')
    assert [line for line, _ in read(jsonl)] == [1, 3]
    assert [line for line, _ in read(array)] == [2, 5]
    assert read(table) == [(2, {"a": "1\n1", "b": "x"}), (5, {"a": "2", "b": "y"})]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n[2]\n{"a": 3}\n', [{"a": 1}, "bad JSON", "not an object", {"a": 3}]),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', [{"a": 1}, "invalid UTF-8"]),
        ("a.json", b'[{"a": 1}, 2, {"a": 3}]', [{"a": 1}, "not an object", {"a": 3}]),
        ("a.json", b'{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ("a.json", b'{"a": 1}', [{"a": 1}]),
        ("a.csv", b'a,b\n1,2\n1\n1,2,3\n', [{"a": "1", "b": "2"}, *["wrong number of columns"] * 2]),
        ("a.csv", b'a,b\n"x" y,2\n1,2\n', ["bad CSV", {"a": "1", "b": "2"}]),
        ("a.csv", b'a,b\n1,"2\n', ["bad CSV"]),
        ("a.csv", b"a,,b\n1,2,3\n1,,3\n", ["unnamed column", {"a": "1", "b": "3"}]),
        ("a.txt", b'{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
    ],
)  # fmt: skip
def test_a_bad_row_costs_only_itself(
    tmp_path: Path, name: str, content: bytes, expected: list[Any]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert fields(path) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'[{"a": 1},\n {"a": oops}, {"a": 2}]', r"a\.json:2: bad JSON: Expecting value; .*nothing after"),
        ("a.json", b'[{"a": 1}\n', r"a\.json:2: bad JSON: expected ',', found 'the end of the file'"),
        ("a.json", b'[{"a": 1}] x', r"a\.json:1: bad JSON: 'x' after the end of the list"),
        ("a.json", b'{\n"a": 1}', r"a\.json: the top level is an object"),
        ("a.json", b"[]", r"a\.json is empty"),
        ("a.csv", b"a,b,a\n1,2,3\n", r"a\.csv:1: columns 1 and 3 have the same name \('a'\): rename"),
        ("a.csv", b"a,b\n", r"a\.csv is empty"),
        ("a.parquet", b"PAR1 no", r"a\.parquet: not readable as Parquet .*write it again"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-20], r"a\.jsonl\.gz: damaged packed data"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_error(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(path)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.lists(st.floats(allow_nan=False))),
        min_size=1,
        max_size=6,
    ),
    indent=st.sampled_from([None, 0, 3]),
    chunk=st.integers(1, 40),
)  # fmt: skip
def test_a_json_list_is_read_alike_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], indent: int | None, chunk: int
) -> None:
    path = tmp_path_factory.mktemp("array") / "a.json"
    path.write_text(json.dumps(rows, indent=indent), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medray.data.files.json_rows._CHUNK_CHARS", chunk)
        assert fields(path) == rows


def test_a_json_list_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    row = json.dumps({"text": "x" * 1000})
    path.write_text("[" + ",\n".join([row] * 3000) + "]")
    [file] = find_files(FileConfig(path=str(path)))
    import tracemalloc

    tracemalloc.start()
    count = sum(1 for _ in read_raw(file))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 3000
    assert peak < path.stat().st_size


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ("paragraph", [(1, "One line\nand its end."), (5, "  Two."), (7, "Three.")]),
        ("line", [(1, "One line"), (2, "and its end."), (5, "  Two."), (7, "Three.")]),
        ("file", [(1, "One line\nand its end.\n\n \n  Two.\n\nThree.")]),
        ("auto", [(1, "One line\nand its end."), (5, "  Two."), (7, "Three.")]),
    ],
)
def test_documents_of_a_text(tmp_path: Path, documents: str, expected: list[Any]) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"One line\r\nand its end.\r\n\r\n \r\n  Two.\r\n\r\nThree.")
    assert read(path, documents=documents) == [(line, {"text": text}) for line, text in expected]


def test_text_without_blank_lines_has_a_document_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("第一段。\n第二段。\n")
    assert fields(path) == [{"text": "第一段。"}, {"text": "第二段。"}]


def test_digests_are_those_of_the_bytes_on_disk(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(encode(ROWS, ".jsonl")))
    (tmp_path / "b.parquet").write_bytes(encode(ROWS, ".parquet"))
    (tmp_path / "c.csv").write_bytes(encode(ROWS, ".csv"))
    (tmp_path / "d.json").write_bytes(encode(ROWS, ".json"))
    digests: dict[str, str] = {}
    for file in find_files(FileConfig(path=str(tmp_path))):
        list(read_raw(file, digests))
    assert digests == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()
    }


def test_the_digest_of_a_file_left_early_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 300_000)
    [file] = find_files(FileConfig(path=str(path)))
    digests: dict[str, str] = {}
    rows = read_raw(file, digests)
    next(rows)
    rows.close()
    [(name, digest)] = digests.items()
    assert name == "a.jsonl (first 1048576 bytes)"
    assert digest == hashlib.sha256(path.read_bytes()[: 1 << 20]).hexdigest()
