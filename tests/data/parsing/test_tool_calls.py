"""Tools and calls in the forms people keep them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.data.parsing.tool_calls import parse_calls, parse_react, parse_tools
from medray.data.source import RowError

BMI = {"name": "bmi", "description": "Body mass index", "parameters": {"type": "object"}}


@pytest.mark.parametrize(
    "value",
    [[BMI], json.dumps([BMI]), [{"type": "function", "function": BMI}]],
)
def test_tools(value: Any) -> None:
    assert parse_tools(value) == (BMI,)


@pytest.mark.parametrize("value", [None, "", " ", "[]", []])
def test_no_tools(value: Any) -> None:
    assert parse_tools(value) == ()


@pytest.mark.parametrize(
    ("value", "reason"),
    [("[{", "bad JSON"), ("{}", "wrong type"), ([1], "wrong type"), ([{"parameters": {}}], "missing key")],
)  # fmt: skip
def test_bad_tools(value: Any, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        parse_tools(value)
    assert caught.value.reason == reason


def test_calls() -> None:
    call = {"name": "f", "arguments": {"x": 1}}
    assert parse_calls(json.dumps([call, call]), "v") == (call, call)
    assert parse_calls({"function": {"name": "f", "arguments": '{"x": 1}'}}, "v") == (call,)
    assert parse_calls({"name": "f"}, "v") == ({"name": "f", "arguments": {}},)


names = st.text(st.characters(categories=["L", "N"]), min_size=1)
arguments = st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.booleans()))


@given(calls=st.lists(st.tuples(names, arguments), min_size=1, max_size=4))
def test_react_text_gives_its_calls_back(calls: list[tuple[str, dict[str, Any]]]) -> None:
    text = "\n".join(
        f"Action: {name}\nAction Input: {json.dumps(given, ensure_ascii=False)}"
        for name, given in calls
    )
    expected = tuple({"name": name, "arguments": given} for name, given in calls)
    assert parse_react(text + "\n", [name for name, _ in calls]) == expected


@pytest.mark.parametrize(
    "text",
    [
        "It is sunny.",
        'I will look. Action: f\nAction Input: {"x": 1}',
        'Action: f\nAction Input: {"x": 1} and then',
        'Action: g\nAction Input: {"x": 1}',
        "Action: f\nAction Input: {x",
        "Action: f\nAction Input: [1]",
        "",
    ],
)
def test_other_texts_are_no_calls(text: str) -> None:
    assert parse_react(text, ["f"]) == ()
