"""Paths to files: one, a folder, a pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from medray.config.data import FileConfig
from medray.data.files.find import find_files
from medray.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.jsonl",
        "a/x.csv",
        "a/y.txt.gz",
        "a/README.md",
        "c/z.parquet",
        ".cache/old.jsonl",
        "a/.hidden.jsonl",
        "dataset_infos.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(path: str | Path) -> list[tuple[str, str]]:
    return [(f.name, f.format) for f in find_files(FileConfig(path=str(path)))]


def test_a_folder_is_all_its_rows_in_a_fixed_order(folder: Path) -> None:
    assert names(folder) == [
        ("b.jsonl", "jsonl"),
        ("a/x.csv", "csv"),
        ("a/y.txt.gz", "text"),
        ("c/z.parquet", "parquet"),
    ]


def test_names_of_a_pattern_begin_below_what_all_share(folder: Path) -> None:
    assert names(folder / "*" / "*") == [
        ("a/x.csv", "csv"),
        ("a/y.txt.gz", "text"),
        ("c/z.parquet", "parquet"),
    ]
    assert names(folder / "**" / "*.parquet") == [("z.parquet", "parquet")]


def test_one_file_is_called_by_its_base_name(folder: Path) -> None:
    assert names(folder / "a" / "x.csv") == [("x.csv", "csv")]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.jsonl", r"data\.path=.*none\.jsonl does not exist: check it"),
        ("*.csv", r"data\.path=.*\*\.csv matches no data file"),
        ("a/README.md", r"README\.md has an unsupported format: give it the suffix .* one of \.jsonl"),
        (".cache/empty", r"does not exist"),
    ],
)  # fmt: skip
def test_nothing_to_read(folder: Path, path: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        names(folder / path)
