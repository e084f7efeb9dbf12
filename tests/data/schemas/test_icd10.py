from __future__ import annotations

import re
import time

import pytest
import simple_icd_10_cm as icd

from medray.config.data import DataConfig
from medray.data.loading.load import Dataset, load_dataset
from medray.errors import DataError
from medray.types import Record


def load(**settings: object) -> Dataset:
    return load_dataset(DataConfig.model_validate({"kind": "icd10", **settings}))


@pytest.fixture(scope="module")
def default() -> Dataset:
    return load()


def right(record: Record) -> str:
    return record.options["ABCD".index(record.answer)]


def test_default_numbers(default: Dataset) -> None:
    assert (len(default.train), len(default.held_out)) == (4096, 128)
    assert default.report.num_unused == default.report.num_dropped == 0
    assert re.fullmatch(r"[0-9a-f]{64}", default.report.sha256)


def test_prompt_and_answer_agree_with_the_code_list(default: Dataset) -> None:
    for record in (*default.train[:300], *default.held_out):
        assert right(record) == icd.get_description(record.group_id)
        question, *lines, last = record.messages[0]["content"].split("\n")
        assert question == f"What does the ICD-10-CM code {record.group_id} mean?"
        assert lines == [
            f"{letter}. {text}" for letter, text in zip("ABCD", record.options, strict=True)
        ]
        assert last == "Answer with the letter of the right option only."
        assert record.id == f"icd10/{record.group_id}"


def test_options_are_distinct_and_near(default: Dataset) -> None:
    assert all(len({o.casefold() for o in r.options}) == 4 for r in default.train)
    chapter = {}
    for code in icd.get_all_codes():
        if not icd.is_chapter_or_block(code):
            chapter.setdefault(icd.get_description(code), set()).add(icd.get_ancestors(code)[-1])
    for record in default.train[:300]:
        own = icd.get_ancestors(record.group_id)[-1]
        assert all(own in chapter[option] for option in record.options)


def test_letters_are_balanced(default: Dataset) -> None:
    counts = {letter: sum(r.answer == letter for r in default.train) for letter in "ABCD"}
    assert all(930 < n < 1120 for n in counts.values()), counts  # 1024 +- 3.4 sd


def test_nothing_held_out_is_seen_in_training(default: Dataset) -> None:
    assert not {r.group_id for r in default.train} & {r.group_id for r in default.held_out}
    seen = {option.casefold() for r in default.train for option in r.options}
    assert not seen & {right(r).casefold() for r in default.held_out}


def test_an_item_does_not_depend_on_how_many_are_asked_for(default: Dataset) -> None:
    small = load(num_train=50, num_eval=10)
    assert small.train == default.train[:50]
    assert small.held_out == default.held_out[:10]
    assert load(num_train=50, num_eval=0).train == small.train


def test_seed_decides_items(default: Dataset) -> None:
    assert load(num_train=50, num_eval=10) == load(num_train=50, num_eval=10)
    other = load(num_train=50, num_eval=10, seed=18)
    assert {r.id for r in other.train} != {r.id for r in default.train[:50]}


@pytest.mark.parametrize("num_options", [2, 5, 26])
def test_number_of_options(num_options: int) -> None:
    dataset = load(num_train=64, num_eval=8, num_options=num_options)
    for record in (*dataset.train, *dataset.held_out):
        assert len(set(record.options)) == num_options
        assert record.answer in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:num_options]


def test_smallest_chapter_borrows_from_the_others() -> None:
    # Chapter 22 holds three codes, too few for four options.
    everything = load(num_train=31_000, num_eval=4_000)
    special = [r for r in (*everything.train, *everything.held_out) if r.group_id[0] == "U"]
    assert special
    assert all(len(set(r.options)) == 4 for r in special)


def test_more_items_than_codes() -> None:
    with pytest.raises(DataError, match=r"data\.num_train=99999 is more than the 3\d{4} ICD"):
        load(num_train=99_999)
    with pytest.raises(DataError, match=r"data\.num_eval=9999 is more than the 4\d{3} ICD"):
        load(num_eval=9999)


def test_items_are_made_fast(default: Dataset) -> None:
    started = time.perf_counter()
    load(seed=99)
    assert time.perf_counter() - started < 3
