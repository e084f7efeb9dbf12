from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config.data import DataConfig
from medray.data.loading.load import load_dataset
from medray.data.schemas.choice import parse_choice
from medray.errors import DataError

from ..helpers import write_jsonl

OPTIONS = ["Cholera", "Typhoid fever", "Malaria", "Dengue fever"]
ROW = {"question": "Which one has rose spots?", "options": OPTIONS, "answer": "B"}


def load(path: Path, kind: str = "choice", **settings: object):
    return load_dataset(
        DataConfig.model_validate({"kind": kind, "path": str(path), "num_eval": 0, **settings})
    )


def test_english_prompt(tmp_path: Path) -> None:
    (record,) = load(write_jsonl(tmp_path / "mc.jsonl", ROW)).train
    assert record.messages[0]["content"] == (
        "Which one has rose spots?\n"
        "A. Cholera\nB. Typhoid fever\nC. Malaria\nD. Dengue fever\n"
        "Answer with the letter of the right option only."
    )
    assert (record.id, record.answer, record.options) == ("mc.jsonl:1", "B", tuple(OPTIONS))
    assert (record.task, record.lang) == ("choice", "en")


def test_chinese_prompt_with_several_answers(tmp_path: Path) -> None:
    row = {
        "question": "下列属于病毒感染的是",
        "options": {"A": "流感", "B": "伤寒", "C": "麻疹"},
        "answer": "A,C",
        "id": "cmb-1",
        "group": "g",
    }
    (record,) = load(write_jsonl(tmp_path / "mc.jsonl", row)).train
    assert record.messages[0]["content"] == (
        "下列属于病毒感染的是\nA. 流感\nB. 伤寒\nC. 麻疹\n"
        "本题有多个正确选项，只回答所有正确选项的字母。"
    )
    assert (record.answer, record.lang, record.id, record.group_id) == ("AC", "zh", "cmb-1", "g")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("B", "B"),
        ("b", "B"),
        ("Ｂ", "B"),
        (1, "B"),
        (0, "A"),
        ("Typhoid fever", "B"),
        ("typhoid FEVER", "B"),
        ("ABD", "ABD"),
        ("DBA", "ABD"),
        ("A, C", "AC"),
        ("A、C", "AC"),
        (["C", "A"], "AC"),
    ],
)
def test_forms_of_the_answer(answer: Any, expected: str) -> None:
    assert parse_choice({**ROW, "answer": answer}, "x:1").answer == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "E"}, r"answer not among options: 'E' is neither .* letters up to D"),
        ({"answer": "Measles"}, r"answer not among options"),
        ({"answer": 4}, r"answer not among options: index 4 of 4 options; indices start at 0"),
        ({"answer": -1}, r"answer not among options"),
        ({"answer": "AA"}, r"answer not among options"),
        ({"answer": ""}, r"empty value: 'answer' is blank"),
        ({"answer": []}, r"empty value: 'answer' lists no option"),
        ({"answer": ["AB"]}, r"wrong type: a list in 'answer' must hold single letters"),
        ({"answer": 1.0}, r"wrong type: 'answer' is a number"),
        ({"answer": True}, r"wrong type: 'answer' is true/false"),
        ({"options": ["B", "A"], "answer": "A"}, r"ambiguous answer: 'A' .* 0-based index"),
        ({"options": "A B C"}, r"wrong type: 'options' must be a list"),
        ({"options": ["only"]}, r"bad options: 1 options; write 2 to 26"),
        ({"options": ["x", "X "]}, r"bad options: two options have the same text"),
        ({"options": ["x", ""]}, r"empty value: 'options\[1\]' is blank"),
        ({"options": ["x", 2]}, r"wrong type: 'options\[1\]' is a number"),
        ({"options": {"A": "x", "C": "y"}}, r"bad options: keys are 'A', 'C'; letter them A, B"),
        ({"question": 5}, r"wrong type: 'question'"),
    ],
)
def test_bad_rows(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write_jsonl(tmp_path / "mc.jsonl", {**ROW, "question": "other?"}, {**ROW, **change})
    with pytest.raises(DataError, match=rf"mc\.jsonl:2: {message}"):
        load(path)
    assert load(path, on_bad_row="skip").report.num_dropped == 1


@pytest.mark.parametrize("key", ["question", "options", "answer"])
def test_missing_keys(tmp_path: Path, key: str) -> None:
    path = write_jsonl(tmp_path / "mc.jsonl", {k: v for k, v in ROW.items() if k != key})
    with pytest.raises(DataError, match=rf"mc\.jsonl:1: missing key: no '{key}'"):
        load(path)


@given(seed=st.integers(), answer=st.sampled_from(["A", "B", "ABD", "CD"]))
def test_shuffle_keeps_what_is_right(seed: int, answer: str) -> None:
    row = {**ROW, "answer": answer, "id": "i"}
    plain, shuffled = parse_choice(row, "x:1"), parse_choice(row, "x:1", shuffle_seed=seed)
    assert sorted(shuffled.options) == sorted(OPTIONS)
    assert {shuffled.options["ABCD".index(c)] for c in shuffled.answer} == {
        plain.options["ABCD".index(c)] for c in plain.answer
    }
    assert shuffled.group_id == plain.group_id
    assert shuffled == parse_choice(row, "x:1", shuffle_seed=seed)


def test_shuffle_spreads_the_right_letter(tmp_path: Path) -> None:
    rows = [{**ROW, "question": f"q{i}", "answer": "A"} for i in range(200)]
    path = write_jsonl(tmp_path / "mc.jsonl", *rows)
    letters = [r.answer for r in load(path, "choice-shuffled").train]
    assert {letter: 30 < letters.count(letter) < 70 for letter in "ABCD"} == dict.fromkeys(
        "ABCD", True
    )
    assert {r.answer for r in load(path).train} == {"A"}


@pytest.mark.parametrize(
    "last",
    [
        "All of the above",
        "None of these",
        "Both A and C",
        "A and B",
        "以上都对",
        "A和C",
        "Neither B",
    ],
)
def test_options_that_speak_of_others_stay_in_place(last: str) -> None:
    row = {**ROW, "options": ["Cholera", "Malaria", "Measles", last], "answer": "D"}
    for seed in range(20):
        assert parse_choice(row, "x:1", shuffle_seed=seed).answer == "D"
