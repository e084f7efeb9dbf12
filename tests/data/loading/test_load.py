from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.config.data import DataConfig
from medray.data.loading.load import load_dataset
from medray.data.source import BadRow, Row, Source
from medray.errors import ConfigError, DataError
from medray.types import Record

from ..helpers import write_jsonl

HERE = __name__


def qa(path: Path, **settings: object) -> DataConfig:
    return DataConfig.model_validate({"kind": "qa", "path": str(path), "num_eval": 0, **settings})


def questions(count: int) -> list[dict[str, str]]:
    return [{"question": f"q{i}?", "answer": f"a{i}"} for i in range(count)]


def ids(records: tuple[Record, ...]) -> list[str]:
    return [record.id for record in records]


def groups(records: tuple[Record, ...]) -> set[str]:
    return {record.group_id for record in records}


def test_all_rows_are_accounted_for(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "qa.jsonl", *questions(20))
    dataset = load_dataset(qa(path, num_train=12, num_eval=5))
    report = dataset.report
    assert (len(dataset.train), len(dataset.held_out)) == (12, 5)
    assert (report.num_read, report.num_dropped, report.num_unused) == (20, 0, 3)
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.digests == {"qa.jsonl": report.sha256}
    assert report.summary() == f"{path}: 20 rows, 12 train, 5 held out, 3 unused"
    assert len({*ids(dataset.train), *ids(dataset.held_out)}) == 17


def test_split_depends_on_the_seed_not_on_row_order_or_added_rows(tmp_path: Path) -> None:
    rows = [{**row, "id": f"id{i}"} for i, row in enumerate(questions(40))]
    first = load_dataset(qa(write_jsonl(tmp_path / "a.jsonl", *rows), num_eval=10))
    again = load_dataset(qa(write_jsonl(tmp_path / "b.jsonl", *reversed(rows)), num_eval=10))
    assert first.held_out == tuple(
        next(r for r in first.held_out if r.id == other.id) for other in again.held_out
    )
    assert ids(first.train) == ids(again.train)
    other_seed = load_dataset(qa(tmp_path / "a.jsonl", num_eval=10, seed=18))
    assert set(ids(other_seed.held_out)) != set(ids(first.held_out))
    # Train order is drawn too, so a cap is a fair sample rather than the top of the file.
    assert ids(first.train) != [f"id{i}" for i in range(40) if f"id{i}" in ids(first.train)]


def test_a_cap_keeps_the_first_of_the_larger_split(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "qa.jsonl", *questions(40))
    whole = load_dataset(qa(path, num_eval=10))
    capped = load_dataset(qa(path, num_train=7, num_eval=4))
    assert capped.train == whole.train[:7]
    assert capped.held_out == whole.held_out[:4]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=20),
    num_eval=st.integers(0, 12),
    seed=st.integers(0, 10_000),
)
def test_no_group_is_on_both_sides(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], num_eval: int, seed: int
) -> None:
    rows = [
        {"question": f"{g}-{i}", "answer": "x", "group": f"patient {g}"}
        for g, size in enumerate(sizes)
        for i in range(size)
    ]
    path = write_jsonl(tmp_path_factory.mktemp("groups") / "qa.jsonl", *rows)
    config = qa(path, num_eval=num_eval, seed=seed)
    if num_eval and sum(sizes[:-1]) < num_eval + max(sizes):  # may leave a side without a group
        with contextlib.suppress(DataError):
            load_dataset(config)
        return
    dataset = load_dataset(config)
    assert not groups(dataset.train) & groups(dataset.held_out)
    assert len(dataset.held_out) == num_eval
    assert len(dataset.train) >= 1
    assert dataset == load_dataset(config)
    report = dataset.report
    assert report.num_train + report.num_held_out + report.num_unused == len(rows)


def test_the_same_question_is_one_group(tmp_path: Path) -> None:
    rows = [*questions(10), *({"question": f" Q{i} ？", "answer": "other"} for i in range(10))]
    dataset = load_dataset(qa(write_jsonl(tmp_path / "qa.jsonl", *rows), num_eval=6))
    assert len(groups(dataset.train) | groups(dataset.held_out)) == 10
    assert not groups(dataset.train) & groups(dataset.held_out)


def test_skip_counts_bad_rows_by_reason_with_examples(tmp_path: Path) -> None:
    bad = ["{", "[1]", '{"question": "x"}', '{"question": 1, "answer": "y"}', "nope", "{}", "3"]
    path = write_jsonl(tmp_path / "qa.jsonl", *questions(3), *bad)
    dataset = load_dataset(qa(path, on_bad_row="skip"))
    counts = {reason: drop.count for reason, drop in dataset.report.dropped.items()}
    assert counts == {"bad JSON": 2, "not an object": 2, "missing key": 2, "wrong type": 1}
    assert dataset.report.dropped["wrong type"].examples == (
        f"{path}:7: wrong type: 'question' is a number; write text in quotes",
    )
    assert (dataset.report.num_read, dataset.report.num_dropped) == (10, 7)
    assert "dropped 2 (bad JSON, e.g. " in dataset.report.summary()


def test_error_stops_at_the_first_bad_row(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "qa.jsonl", *questions(2), "", '{"question": "x"}', "{")
    with pytest.raises(DataError) as caught:
        load_dataset(qa(path))
    assert str(caught.value) == (
        f"{path}:4: missing key: no 'answer'; add it or rename one (the row has 'question')"
        " (data.on_bad_row=skip skips such rows)"
    )


def test_repeated_ids_are_bad_rows(tmp_path: Path) -> None:
    rows = [{"id": 7, "question": "a", "answer": "b"}, {"id": "7", "question": "c", "answer": "d"}]
    path = write_jsonl(tmp_path / "qa.jsonl", *rows)
    with pytest.raises(DataError, match=rf"qa.jsonl:2: repeated id: '7' is also at {path}:1"):
        load_dataset(qa(path))
    dataset = load_dataset(qa(path, on_bad_row="skip"))
    assert (len(dataset.train), dataset.report.num_dropped) == (1, 1)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf\n"])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "qa.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"qa\.jsonl is empty: point data\.path at"):
        load_dataset(qa(path))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path=.*none\.jsonl does not exist"):
        load_dataset(qa(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match=r"is a folder without data files: put \.jsonl, "):
        load_dataset(qa(tmp_path))


def test_no_usable_row(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "qa.jsonl", "{", "{")
    with pytest.raises(DataError, match=r"no usable row, e\.g\. .*qa\.jsonl:1: bad JSON"):
        load_dataset(qa(path, on_bad_row="skip"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"num_eval": 11}, r"data\.num_eval=11 asks for more held-out records than the 10"),
        ({"num_eval": 10}, r"data\.num_eval=10 leaves none of the 10 records"),
        ({"num_eval": 3, "num_train": 8}, r"data\.num_train=8 .* than the 7 .* \(3 are held out\)"),
    ],
)
def test_too_few_rows_name_the_key(tmp_path: Path, asked: dict[str, int], message: str) -> None:
    path = write_jsonl(tmp_path / "qa.jsonl", *questions(10))
    with pytest.raises(DataError, match=message):
        load_dataset(qa(path, **asked))


def official(config: DataConfig) -> Source:
    """A user's schema with an official split; one bad row."""
    rows: list[Row | BadRow] = [
        Row(f"row {i}", Record(id=str(i), messages=({"role": "user", "content": "?"},)))
        for i in range(10)
    ]
    rows.append(BadRow("row 10", "no label", "label it"))
    return Source("mine", rows, {"mine": "0" * 64}, frozenset({"1", "3", "5", "77"}))


def test_a_user_schema_by_dotted_path_and_its_official_split() -> None:
    config = DataConfig(kind=f"{HERE}:official", path="-", num_eval=2, on_bad_row="skip")
    dataset = load_dataset(config)
    assert set(ids(dataset.held_out)) < {"1", "3", "5"}
    assert len(dataset.held_out) == 2
    assert set(ids(dataset.train)) == {"0", "2", "4", "6", "7", "8", "9"}
    assert dataset.report.num_unused == 1  # the third official record is not trained on
    without = load_dataset(config.model_copy(update={"num_eval": 0}))
    assert set(ids(without.train)) == set(ids(dataset.train))
    with pytest.raises(DataError, match="row 10: no label: label it"):
        load_dataset(config.model_copy(update={"on_bad_row": "error"}))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pubmedqaa", r"data\.kind=pubmedqaa is unknown: did you mean pubmedqa\?"),
        ("xyzzy", r"use a name of `medray data list`, or your own as package.module:name"),
        ("no_such_package:read", r"importing no_such_package failed"),
        (f"{HERE}:HERE", r"is not callable"),
    ],
)
def test_unknown_kind(kind: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_dataset(DataConfig(kind=kind, path="-"))


@pytest.mark.parametrize(("labels", "note"), [((True, True), True), ((True, False), False)])
def test_labels_that_are_all_the_same_are_said(tmp_path: Path, labels: Any, note: bool) -> None:
    rows = [
        {"prompt": f"{i}?", "completion": "x", "label": label} for i, label in enumerate(labels)
    ]
    config = DataConfig(path=str(write_jsonl(tmp_path / "rows.jsonl", *rows)), num_eval=0)
    summary = load_dataset(config, stage="kto").report.summary()
    assert ("all 2 labels are true" in summary) == note
