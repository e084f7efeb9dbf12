"""Several datasets in one: ids apart, weights, caps, held-out files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config.data import DataConfig
from medray.config.prepare import PrepareJob
from medray.data.loading.load import load_dataset
from medray.data.loading.mixture import copies
from medray.data.loading.shares import num_bytes, shares
from medray.errors import DataError
from medray.types import Record

from ..helpers import write_jsonl


def questions(path: Path, name: str, count: int) -> str:
    rows = ({"question": f"{name}{i}?", "answer": "x"} for i in range(count))
    return str(write_jsonl(path / f"{name}.jsonl", *rows))


def config(*sources: dict[str, Any], **settings: Any) -> DataConfig:
    return DataConfig.model_validate({"sources": sources, "num_eval": 0, **settings})


def first_letters(records: tuple[Record, ...]) -> Counter[str]:
    return Counter(r.messages[0]["content"][0] for r in records)


def test_weights_are_passes(tmp_path: Path) -> None:
    a, b, c = (questions(tmp_path, name, 200) for name in "abc")
    dataset = load_dataset(
        config({"path": a}, {"path": b, "weight": 3}, {"path": c, "weight": 0.25}, num_eval=60)
    )
    held_out = first_letters(dataset.held_out)
    train = first_letters(dataset.train)
    assert sum(held_out.values()) == 60
    assert train["a"] == 200 - held_out["a"]
    assert train["b"] == 3 * (200 - held_out["b"])
    assert 20 < train["c"] < 75
    report = dataset.report
    assert report.num_repeated == 2 * (200 - held_out["b"])
    assert report.num_unused == 200 - held_out["c"] - train["c"]
    assert report.num_read - report.num_dropped + report.num_repeated == (
        report.num_train + report.num_held_out + report.num_unused
    )
    assert f"{report.num_repeated} repeated" in report.summary()


def test_ids_digests_and_names_tell_sources_apart(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    a, b = questions(tmp_path, "q", 2), questions(tmp_path / "other", "q", 2)
    dataset = load_dataset(config({"path": a}, {"path": b, "weight": 2}))
    assert sorted(r.id for r in dataset.train) == [
        "0/q.jsonl:1",
        "0/q.jsonl:2",
        *(f"1/q.jsonl:{line}{copy}" for line in (1, 2) for copy in ("", "#2")),
    ]
    assert set(dataset.report.digests) == {"0/q.jsonl", "1/q.jsonl"}
    assert dataset.report.source == f"{a}, {b}"


def test_a_question_in_two_sources_is_on_one_side(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    a, b = questions(tmp_path, "q", 40), questions(tmp_path / "other", "q", 40)
    dataset = load_dataset(config({"path": a}, {"path": b}, num_eval=20))
    assert len(dataset.held_out) == 20
    assert not {r.group_id for r in dataset.train} & {r.group_id for r in dataset.held_out}


def test_a_cap_stops_after_usable_rows(tmp_path: Path) -> None:
    rows: list[Any] = [{"question": f"q{i}", "answer": "x"} for i in range(9)]
    rows.insert(1, {"question": "bad"})
    path = str(write_jsonl(tmp_path / "q.jsonl", *rows))
    dataset = load_dataset(config({"path": path, "max_rows": 3}, on_bad_row="skip"))
    assert sorted(r.id for r in dataset.train) == ["q.jsonl:1", "q.jsonl:3", "q.jsonl:4"]
    assert (dataset.report.num_read, dataset.report.num_dropped) == (4, 1)


def test_a_cap_on_copies_takes_a_fair_part(tmp_path: Path) -> None:
    a, b = questions(tmp_path, "a", 100), questions(tmp_path, "b", 100)
    dataset = load_dataset(config({"path": a}, {"path": b, "weight": 3}, num_train=200))
    assert 115 < first_letters(dataset.train)["b"] < 185  # 150 expected


def test_generated_and_read_sources_mix(tmp_path: Path) -> None:
    path = questions(tmp_path, "q", 30)
    dataset = load_dataset(config({"kind": "icd10"}, {"path": path}, num_train=60, num_eval=5))
    kinds = Counter(r.task for r in dataset.train)
    assert set(kinds) == {"choice", "qa"}
    assert all(r.id.startswith("0/icd10/") for r in dataset.held_out)


def test_held_out_rows_of_their_own(tmp_path: Path) -> None:
    train = write_jsonl(
        tmp_path / "train.jsonl", *({"question": f"q{i}", "answer": "x"} for i in range(10))
    )
    other = write_jsonl(
        tmp_path / "eval.jsonl",
        {"question": "new", "answer": "x"},
        {"question": "Q3", "answer": "x"},
    )
    dataset = load_dataset(DataConfig(path=str(train), eval_path=str(other), num_eval=3))
    assert [r.id for r in dataset.train if r.messages[0]["content"] == "q3"] == []
    assert {r.id for r in dataset.held_out} == {
        "eval/eval.jsonl:1",
        "eval/eval.jsonl:2",
        "train.jsonl:4",
    }
    assert len(dataset.train) == 9


def test_a_bad_row_of_a_source_stops_the_job(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "q.jsonl", {"question": "q", "answer": "x"}, {"question": ""})
    with pytest.raises(DataError, match=r"q\.jsonl:2: empty value"):
        load_dataset(config({"path": str(path)}))


@given(weight=st.floats(0.01, 20), seed=st.integers(), name=st.text(max_size=8))
def test_copies_of_a_record(weight: float, seed: int, name: str) -> None:
    taken = list(copies(Record(name, ()), weight, seed))
    assert len(taken) in (int(weight), int(weight) + 1)
    assert len({record.id for record in taken}) == len(taken)
    assert taken == list(copies(Record(name, ()), weight, seed))
    more = list(copies(Record(name, ()), weight + 1, seed))
    assert len(more) in (len(taken), len(taken) + 1)  # rounding may move a fraction at its edge


def test_fractions_take_their_share() -> None:
    taken = sum(len(list(copies(Record(str(i), ()), 0.3, 17))) for i in range(4000))
    assert 1100 < taken < 1300


@pytest.mark.parametrize(
    ("temperature", "shares"), [(1, (0.9, 0.1)), (2, (0.75, 0.25)), (1000, (0.5, 0.5))]
)
def test_mixing_by_temperature(
    tmp_path: Path, temperature: float, shares: tuple[float, float]
) -> None:
    """900 and 100 rows: the square roots are 30 and 10."""
    a, b = questions(tmp_path, "a", 900), questions(tmp_path, "b", 100)
    dataset = load_dataset(
        config({"path": a}, {"path": b}, mixing="temperature", mixing_temperature=temperature)
    )
    counts = first_letters(dataset.train)
    assert len(dataset.train) == pytest.approx(1000, abs=50)
    assert [counts[name] / 1000 for name in "ab"] == pytest.approx(shares, abs=0.03)
    assert f"mixing=temperature: source 0 {shares[0] / 0.9:.3g} times" in dataset.report.summary()


def test_mixing_by_tokens(tmp_path: Path) -> None:
    long = [{"question": f"a{i} " + "word " * 20, "answer": "x"} for i in range(400)]
    a = str(write_jsonl(tmp_path / "a.jsonl", *long))
    b = questions(tmp_path, "b", 400)
    sources = ({"path": a, "weight": 3}, {"path": b, "weight": 1})
    dataset = load_dataset(config(*sources, mixing="tokens"))
    sizes = dict.fromkeys("ab", 0)
    for record in dataset.train:
        sizes[record.messages[0]["content"][0]] += num_bytes(record)
    assert sizes["a"] / sum(sizes.values()) == pytest.approx(0.75, abs=0.03)
    assert "75.0% of the tokens" in dataset.report.summary()


def test_shares_by_hand() -> None:
    assert shares({"a": 60, "b": 20}, {"a": 1, "b": 1}) == {"a": 40 / 60, "b": 2}
    assert shares({"a": 60}, {"a": 0.2}) == {"a": 1}


def test_a_preparation_streams_and_cannot_mix_by_size() -> None:
    data = {"sources": [{"path": "a"}, {"path": "b"}], "mixing": "tokens"}
    with pytest.raises(ValueError, match=r"data\.mixing=tokens needs row counts"):
        PrepareJob.model_validate({"data": data})
