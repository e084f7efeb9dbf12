"""Chats in every form people keep them become the same messages."""

from __future__ import annotations

import re
from typing import Any

import pytest

from medray.data.parsing.turns import chat, parse_turns, with_thinking
from medray.data.source import RowError

CALL = {"name": "bmi", "arguments": {"kg": 70}}
WHOLE = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "My BMI?"},
    {"role": "assistant", "content": "", "tool_calls": (CALL,)},
    {"role": "tool", "content": '{"bmi": 22.9}'},
    {"role": "assistant", "content": "It is 22.9."},
)


def test_sharegpt() -> None:
    turns = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": " My BMI?\n"},
        {"from": "function_call", "value": '{"name": "bmi", "arguments": {"kg": 70}}'},
        {"from": "observation", "value": '{"bmi": 22.9}'},
        {"from": "gpt", "value": "It is 22.9."},
    ]
    assert parse_turns(turns, "conversations") == WHOLE


def test_openai() -> None:
    function = {"name": "bmi", "arguments": '{"kg": 70}'}
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "My "}, {"type": "text", "text": "BMI?"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "content": {"bmi": 22.9}, "tool_call_id": "c1"},
        {"role": "assistant", "content": "It is 22.9."},
    ]  # fmt: skip
    named = (
        {**message, "name": "bmi"} if message["role"] == "tool" else message for message in WHOLE
    )
    assert parse_turns(turns, "messages") == tuple(named)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("human", "user"), ("User", "user"), ("gpt", "assistant"), ("BOT", "assistant"), ("assistant", "assistant"),
        ("model", "assistant"), ("tool", "tool"), ("function", "tool"), ("observation", "tool"),
    ],
)  # fmt: skip
def test_names_of_roles(name: str, role: str) -> None:
    assert parse_turns([{"from": name, "value": "x"}], "c")[0]["role"] == role


def test_parallel_calls_and_a_call_after_text_are_one_turn() -> None:
    call = {"from": "function_call", "value": '{"name": "a", "arguments": {}}'}
    messages = parse_turns(
        [{"from": "human", "value": "?"}, {"from": "gpt", "value": "Let me see."}, call, call],
        "conversations",
    )
    a = {"name": "a", "arguments": {}}
    assert messages[1:] == ({"role": "assistant", "content": "Let me see.", "tool_calls": (a, a)},)


def test_a_call_that_is_trained_otherwise_stays_apart() -> None:
    turns = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "x", "weight": 0},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
    ]
    assert [m.get("trained", True) for m in parse_turns(turns, "m")] == [True, False, True]


@pytest.mark.parametrize(
    ("extra", "trained"),
    [({}, None), ({"weight": 0}, False), ({"weight": 1}, None), ({"train": False}, False), ({"loss": True}, None)],
)  # fmt: skip
def test_untrained_answers(extra: dict[str, Any], trained: bool | None) -> None:
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!", **extra}]
    assert parse_turns(turns, "m")[1].get("trained") is trained


def test_the_system_column_yields_to_a_system_turn() -> None:
    turns = [{"from": "human", "value": "?"}]
    assert parse_turns(turns, "c", system="S")[0] == {"role": "system", "content": "S"}
    own = [{"from": "system", "value": "own"}, *turns]
    assert [m["content"] for m in parse_turns(own, "c", system="S")] == ["own", "?"]


def test_reasoning_beside_an_answer() -> None:
    turns = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "B", "reasoning_content": "A is wrong."},
    ]
    assert parse_turns(turns, "m")[1]["content"] == "<think>\nA is wrong.\n</think>\n\nB"
    assert parse_turns(turns, "m", thinking="none")[1]["content"] == "B"


def test_styles_of_thinking() -> None:
    assert with_thinking("t", "a", "headings") == "## Thinking\n\nt\n\n## Final Response\n\na"
    assert with_thinking("", "a", "tags") == "a"


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ("text", "wrong type: 'c' is text; write a list of turns"),
        ([], "empty value: 'c' has no turn"),
        ([{"from": "system", "value": "s"}], "empty value: 'c' has no turn"),
        (["hi"], r"wrong type: 'c\[0\]' is text"),
        ([{"value": "x"}], r"missing key: no 'role'"),
        ([{"from": "human"}], r"missing key: no 'content'"),
        ([{"from": "narrator", "value": "x"}], r"unknown role: 'c\[0\].from' is 'narrator'; write one of system, user"),
        ([{"from": "human", "value": " "}], r"empty value: 'c\[0\].value' is blank"),
        ([{"from": "gpt", "value": None}], r"empty value: 'c\[0\].value' is blank"),
        ([{"from": "human", "value": 3}], r"wrong type: 'c\[0\].value' is a number"),
        ([{"from": "human", "value": "x"}, {"from": "system", "value": "s"}], "misplaced system turn: 'c.1.'"),
        ([{"from": "function_call", "value": "{"}], r"bad JSON: 'c\[0\].value' is not JSON"),
        ([{"from": "function_call", "value": '{"arguments": {}}'}], "missing key: no 'name'"),
        ([{"from": "function_call", "value": '{"name": "f", "arguments": "[1]"}'}], "wrong type: .*arguments"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], r"not text: .*of type 'image_url'"),
        ([{"role": "assistant", "content": "x", "weight": 0.5}], r"wrong type: 'c\[0\].weight' is 0.5"),
        ([{"role": "user", "content": "\ud800"}], "invalid Unicode"),
    ],
)  # fmt: skip
def test_refusals_name_the_turn(turns: Any, message: str) -> None:
    with pytest.raises(RowError) as caught:
        parse_turns(turns, "c")
    assert re.match(message, f"{caught.value.reason}: {caught.value.detail}")


def test_a_blank_result_of_a_tool_is_a_result() -> None:
    turns = [{"from": "human", "value": "?"}, {"from": "observation", "value": ""}]
    assert parse_turns(turns, "c")[1] == {"role": "tool", "content": ""}


def test_chat_leaves_out_what_is_blank() -> None:
    assert chat(("a", "b"), user="c") == (
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    )


@pytest.mark.parametrize(
    "turn",
    [
        {"reasoning_content": "Because.", "content": "Yes."},
        {"reasoning": "Because.", "content": "Yes."},
        {"thinking": "Because.\n", "content": "Yes."},
        {"thought": "Because.", "reasoning_content": None, "content": "Yes."},
        {"reasoning": "Because.", "reasoning_content": "Because.", "content": "Yes."},
        {"reasoning_content": "Because.", "content": "<think>Because. </think>Yes."},
        {
            "content": [
                {"type": "thinking", "thinking": "Because."},
                {"type": "text", "text": "Yes."},
            ]
        },
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Because."}]},
                {"type": "text", "text": "Yes."},
            ]
        },
    ],
)
def test_a_thought_beside_an_answer(turn: dict[str, Any]) -> None:
    turns = [{"role": "user", "content": "Q?"}, {"role": "assistant", **turn}]
    [_, answer] = parse_turns(turns, "messages")
    assert answer["content"] == "<think>\nBecause.\n</think>\n\nYes."
    [_, plain] = parse_turns(turns, "messages", thinking="none")
    assert plain["content"] == "Yes."


def test_a_thought_beside_a_call() -> None:
    asked = {"from": "human", "value": "Q?"}
    call = {
        "from": "function_call",
        "value": '{"name": "bmi", "arguments": {}}',
        "reasoning": "Why.",
    }
    [_, answer] = parse_turns([asked, call], "messages")
    assert answer["content"] == "<think>\nWhy.\n</think>\n\n"
    assert answer["tool_calls"] == ({"name": "bmi", "arguments": {}},)


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ({"reasoning": "One.", "thinking": "Two."}, "different thoughts in 'reasoning' and"),
        ({"reasoning": "One.", "content": "<think>Two.</think>Yes."}, "another in a field"),
        ({"thinking": {"steps": 3}}, "'messages[1].thinking' is"),
    ],
)
def test_thoughts_that_cannot_be_one(turn: dict[str, Any], message: str) -> None:
    turns = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "Yes.", **turn}]
    with pytest.raises(RowError, match=re.escape(message)) as error:
        parse_turns(turns, "messages")
    assert error.value.reason in ("two thoughts", "wrong type")
    assert "One." not in str(error.value)
