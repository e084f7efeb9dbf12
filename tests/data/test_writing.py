"""What is written as medray's own rows comes back unchanged, from every format."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.config.data import DataConfig
from medray.data.loading.mixture import open_source
from medray.data.source import Row
from medray.data.writing import SUFFIXES, open_writer
from medray.errors import ConfigError
from medray.types import Message, Record

from .schemas.golden import GOLDEN

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
calls = st.fixed_dictionaries(
    {"name": names, "arguments": st.dictionaries(texts, json_values, max_size=3)}
)
plain = st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": texts})
results = st.fixed_dictionaries(
    {"role": st.just("tool"), "content": texts}, optional={"name": names}
)
answers = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": texts},
    optional={
        "tool_calls": st.lists(calls, min_size=1, max_size=2).map(tuple),
        "trained": st.booleans(),
    },
)
turns: st.SearchStrategy[tuple[Message, ...]] = st.lists(
    plain | results | answers,  # type: ignore[arg-type]
    max_size=4,
).map(tuple)
records = st.builds(
    Record,
    id=texts.filter(bool),
    messages=turns,
    chosen=turns,
    rejected=turns,
    answer=texts,
    options=st.lists(texts, max_size=3).map(tuple),
    task=texts,
    lang=st.sampled_from(["en", "zh"]),
    source=texts,
    licence=texts,
    group_id=texts,
    text=texts,
    tools=st.lists(
        st.fixed_dictionaries({"name": names, "parameters": st.dictionaries(texts, json_values)}),
        max_size=2,
    ).map(tuple),
    margin=st.floats(0, 10),
    extra=st.dictionaries(texts, json_values, max_size=3),
)


def write(path: Path, written: list[Record]) -> Path:
    with open_writer(path) as writer:
        for record in written:
            writer.write(record)
    return path


def read(path: Path) -> list[Record]:
    rows = list(open_source(DataConfig(path=str(path))).rows)
    assert all(isinstance(row, Row) for row in rows), rows
    return [row.record for row in rows if isinstance(row, Row)]


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=40, deadline=None)
@given(written=st.lists(records, min_size=1, max_size=4))
def test_records_come_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, written: list[Record]
) -> None:
    assert read(write(tmp_path_factory.mktemp("w") / f"rows{suffix}", written)) == written


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_golden_records_of_all_schemas(tmp_path: Path, suffix: str) -> None:
    goldens = [golden.record for golden in GOLDEN if golden.record.id or golden.kind == "text"]
    goldens = [Record(**{**fields(record), "id": record.id or "t"}) for record in goldens]
    assert read(write(tmp_path / f"rows{suffix}", goldens)) == goldens


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_records_are_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    written = [Record(str(i), (), text="x" * i) for i in range(2500)]  # more than one batch
    digests = {
        hashlib.sha256(write(tmp_path / f"{name}{suffix}", written).read_bytes()).hexdigest()
        for name in "ab"
    }
    assert len(digests) == 1
    assert read(tmp_path / f"a{suffix}") == written


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(AttributeError):
        write(path, [Record("a", (), text="x"), "no record"])  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"rows\.csv: the file name must end in \.jsonl"),
        open_writer(tmp_path / "rows.csv"),
    ):
        pass


def fields(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
