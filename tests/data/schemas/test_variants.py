"""Other forms that a schema reads, and rows that it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest

from medray.config.data import DataConfig
from medray.data.parsing.turns import chat
from medray.data.registry import find_schema
from medray.data.schema import RowSchema
from medray.data.schemas.ultramedical import exam_options
from medray.data.source import RowError
from medray.errors import DataError
from medray.types import Record

from .golden import GOLDEN, TOOLS

ROWS = {golden.kind: golden.row for golden in GOLDEN}


def parse(kind: str, row: dict[str, Any], **settings: Any) -> Record:
    schema = find_schema(kind)
    assert isinstance(schema, RowSchema)
    config = DataConfig.model_validate({"kind": kind, "path": "-", **settings})
    return schema.parse(row, "f.jsonl:1", config)


USER, GOOD, BAD = ({"role": "user", "content": "Q"}, {"role": "assistant", "content": "good"},
                   {"role": "assistant", "content": "bad"})  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("preference", {"conversations": [{"from": "human", "value": "Q"}],
                        "chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}}),
        ("preference", {"conversations": [USER], "chosen": [GOOD], "rejected": [BAD]}),
        ("preference-messages", {"prompt": "Q", "chosen": "good", "rejected": "bad"}),
        ("preference-messages", {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}),
        ("preference-messages", {"chosen": [USER, GOOD], "rejected": [USER, BAD]}),
        ("preference-messages", {"prompt": "Q", "chosen": [GOOD], "rejected": [BAD]}),
        ("response-pair", {"question": "Q", "response_chosen": "good", "response_rejected": "bad", "history": []}),
    ],
)  # fmt: skip
def test_forms_of_a_pair(kind: str, row: dict[str, Any]) -> None:
    record = parse(kind, row)
    assert record.messages == chat(user="Q")
    assert record.chosen == chat(assistant="good")
    assert record.rejected == chat(assistant="bad")
    assert record.margin == 0.0


def test_pairs_that_part_after_several_turns() -> None:
    first = [USER, GOOD, {"role": "user", "content": "And?"}]
    record = parse(
        "preference-messages", {"chosen": [*first, GOOD], "rejected": [*first, BAD], "system": "S"}
    )
    assert record.messages == chat(("Q", "good"), user="And?", system="S")
    assert record.chosen == chat(assistant="good")


def test_react_text_of_a_pair_becomes_calls() -> None:
    row = {
        "conversations": [{"from": "human", "value": "My BMI?"}],
        "tools": TOOLS,
        "chosen": 'Action: bmi\nAction Input: {"kg": 70}\n',
        "rejected": "It is 20.",
    }
    record = parse("preference", row)
    call = {"name": "bmi", "arguments": {"kg": 70}}
    assert record.chosen == ({"role": "assistant", "content": "", "tool_calls": (call,)},)
    assert record.rejected == chat(assistant="It is 20.")
    assert parse("preference", {**row, "tools": ""}).chosen == chat(assistant=row["chosen"].strip())


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"prompt": "Q", "completion": "good", "label": True}, True),
        ({"prompt": [USER], "completion": [GOOD], "label": 1}, True),
        ({"prompt": "Q", "completion": "good", "label": "False"}, False),
        ({"messages": [USER, GOOD], "label": False}, False),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "good"}], "kto_tag": True}, True),
        ({"messages": [USER], "completion": "good", "label": "true"}, True),
    ],
)  # fmt: skip
def test_forms_of_an_unpaired_preference(row: dict[str, Any], label: bool) -> None:
    record = parse("kto", row)
    assert record.messages == chat(user="Q")
    assert (record.chosen or record.rejected) == chat(assistant="good")
    assert record.label is label


def test_an_instruction_may_be_blank_beside_an_input() -> None:
    record = parse("alpaca", {"instruction": "", "input": "Q", "output": "good", "history": None})
    assert record.messages == chat(user="Q", assistant="good")


def test_a_title_that_repeats_the_question_is_said_once() -> None:
    row = {"department": "", "title": "头痛", "ask": "头痛", "answer": "休息"}
    assert parse("zh-dialogue", row).messages == chat(user="头痛", assistant="休息")
    assert parse("zh-dialogue", {**row, "title": ""}).messages == chat(
        user="头痛", assistant="休息"
    )


def test_what_is_asked_about_one_disease_is_one_group() -> None:
    other = {**ROWS["medquad"], "question": "What causes scurvy?"}
    assert parse("medquad", other).group_id == parse("medquad", ROWS["medquad"]).group_id


def test_questions_on_one_note_are_one_group() -> None:
    other = {**ROWS["medcalc"], "Question": "What is the body surface area?"}
    assert parse("medcalc", other).group_id == parse("medcalc", ROWS["medcalc"]).group_id


def test_rows_of_one_case_are_one_group() -> None:
    other = {**ROWS["verl"], "prompt": [{"role": "user", "content": "恶心"}]}
    assert parse("verl", other).group_id == parse("verl", ROWS["verl"]).group_id


def test_headings_for_thinking() -> None:
    record = parse("huatuo-o1-sft", ROWS["huatuo-o1-sft"], thinking="headings")
    assert record.messages[1]["content"].startswith(
        "## Thinking\n\nHistamine.\n\n## Final Response"
    )


def test_options_of_cmexam_as_a_list() -> None:
    options = [
        {"key": "A", "value": "抗坏血酸"},
        {"key": "B", "value": "葡萄糖"},
        {"key": "C", "value": "叶酸"},
    ]
    assert parse("cmexam", {**ROWS["cmexam"], "Options": options}) == parse(
        "cmexam", ROWS["cmexam"]
    )


def test_options_of_a_choice_as_json_text_or_with_nulls() -> None:
    row = {"question": "?", "options": '["x", "y"]', "answer": "y"}
    assert parse("choice", row).answer == "B"
    assert parse("choice", {**row, "options": {"A": "x", "B": "y", "C": None}}).options == (
        "x",
        "y",
    )


@pytest.mark.parametrize(
    "kind", ["medqa", "medqa-hub", "mmlu", "medxpertqa", "medmcqa", "cmb", "cmexam", "choice"]
)
def test_exams_shuffle_when_asked(kind: str) -> None:
    plain = parse(kind, ROWS[kind])
    orders = {
        parse(kind, ROWS[kind], shuffle_options=True, seed=seed).options for seed in range(12)
    }
    assert len(orders) > 1
    for seed in range(12):
        shuffled = parse(kind, ROWS[kind], shuffle_options=True, seed=seed)
        right = {shuffled.options["ABCD".index(letter)] for letter in shuffled.answer}
        assert right == {plain.options["ABCD".index(letter)] for letter in plain.answer}
        assert shuffled.group_id == plain.group_id


def test_the_two_releases_of_medmcqa_are_not_confused() -> None:
    with pytest.raises(
        DataError,
        match=r"f\.jsonl:1: 'cop' is 4, so this release counts from 1: set data\.kind=medmcqa-orig",
    ):
        parse("medmcqa", {**ROWS["medmcqa"], "cop": 4})
    with pytest.raises(
        DataError, match=r"'cop' is 0, so this release counts from 0: set data\.kind=medmcqa$"
    ):
        parse("medmcqa-original", {**ROWS["medmcqa"], "cop": 0})


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which?\n\nA. one\nB. two", ("one", "two")),
        ("Which?\nA) one\nB) two\nC) three\n", ("one", "two", "three")),
        ("Which?\nB. one\nC. two", ()),
        ("A. one\nB. two\nWhich of them?", ()),
        ("Which?", ()),
    ],
)
def test_options_at_the_end_of_a_question(question: str, options: tuple[str, ...]) -> None:
    assert exam_options(question) == options


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("text", {"text": " "}, "empty value: 'text' is blank"),
        ("text", {"text": 3}, "wrong type: 'text' is a number"),
        ("sharegpt", {"conversations": []}, "empty value: 'conversations' has no turn"),
        ("sharegpt", {"tools": "[{"}, "bad JSON: 'tools' is not JSON"),
        ("openai", {"messages": "x"}, "wrong type: 'messages' is text"),
        ("alpaca", {"output": ""}, "empty value: 'output'"),
        ("alpaca", {"instruction": "", "input": ""}, "empty value: 'instruction'"),
        ("alpaca", {"history": [["one"]]}, r"wrong type: 'history\[0\]' must be a \[question, answer\] pair"),
        ("preference", {"rejected": "Rest and drink."}, "no preference: 'chosen' and 'rejected' are the same"),
        ("preference", {"conversations": [USER, GOOD]}, "answered prompt"),
        ("preference", {"chosen": [USER]}, "not an answer: 'chosen'"),
        ("response-pair", {"score_rejected": 9}, "scores disagree"),
        ("response-pair", {"score_rejected": "much"}, "wrong type: 'score_rejected' is 'much'"),
        ("preference-messages", {"rejected": [{"role": "user", "content": "Other"}, BAD], "chosen": [USER, GOOD]},
         "prompts differ: 'chosen'"),
        ("kto", {"label": "perhaps"}, "unknown label: 'label' is 'perhaps'"),
        ("kto", {"label": 0.5}, "unknown label"),
        ("kto", {"prompt": [USER, GOOD]}, "answered prompt"),
        ("huatuogpt", {"data": ["头痛"]}, r"unknown speaker: 'data\[0\]' must begin with"),
        ("huatuogpt", {"data": []}, "empty value: 'data'"),
        ("huatuo-26m", {"questions": [[]]}, "empty value: 'questions"),
        ("rar", {"rubric": []}, "bad rubric: 'rubric' is empty"),
        ("rar", {"rubric": [{"description": "x", "weight": "5"}]}, r"bad rubric: 'rubric\[0\].weight' is text"),
        ("healthbench", {"rubrics": "{}"}, "bad rubric: 'rubrics' is an object"),
        ("medcalc", {"Ground Truth Answer": ""}, "empty value: 'Ground Truth Answer'"),
        ("verl", {"reward_model": "x"}, "bad JSON: 'reward_model'"),
        ("medmcqa", {"cop": -1}, "no answer: 'cop' is -1"),
        ("medmcqa", {"cop": 1.5}, "wrong type: 'cop' is 1.5"),
        ("medqa", {"answer_idx": "F"}, "answer not among options"),
        ("mmlu", {"choices": ["a", "a"]}, "bad options: two options"),
        ("cmb", {"answer": ""}, "empty value: 'answer'"),
        ("cmb", {"option": [1]}, "wrong type: 'option' is a list"),
        ("cmexam", {"Options": "none"}, "bad options: 0 options"),
        ("cmb-clin", {"QA_pairs": [{"question": "?"}]}, "missing key: no 'solution'"),
        ("medreason", {"reasoning": ""}, "empty value: 'reasoning'"),
        ("zh-dialogue", {"title": "", "ask": " "}, "empty value: 'title' and 'ask' are blank"),
        ("pubmedqa-hub", {"context": {"contexts": []}}, "empty value: 'CONTEXTS'"),
        ("medray", {"medray": 2}, "unknown layout: 'medray' is 2; this version reads 1"),
        ("medray", {"messages": [{"role": "human", "content": "x"}]}, "unknown role"),
    ],
)  # fmt: skip
def test_refused_rows(kind: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError) as caught:
        parse(kind, {**ROWS[kind], **change})
    assert re.match(message, f"{caught.value.reason}: {caught.value.detail}")
