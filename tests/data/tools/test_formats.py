from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medray.data.tools.base import ParsedTurn
from medray.data.tools.registry import TOOL_FORMATS, get_tool_format, parse_tool_calls
from medray.errors import ConfigError, DataError
from medray.types import ToolCall

WEATHER = {
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "城市"},
            "unit": {"type": "string", "enum": ["C", "F"]},
        },
        "required": ["city"],
    },
}
CALL: ToolCall = {"name": "get_weather", "arguments": {"city": "北京"}}
TWO: list[ToolCall] = [CALL, {"name": "now", "arguments": {}}]

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,15}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
CALLS = st.lists(
    st.builds(
        lambda n, a: ToolCall(name=n, arguments=a),
        NAMES,
        st.dictionaries(st.text(), VALUES, max_size=3),
    ),
    min_size=1,
    max_size=3,
)
MARKS = ("Action:", "<tool_call>", "[TOOL_CALLS]", "{")


@pytest.mark.parametrize("name", sorted(TOOL_FORMATS))
@settings(max_examples=60, deadline=None)
@given(content=st.text(max_size=20), calls=CALLS)
def test_calls_are_read_back(name: str, content: str, calls: list[ToolCall]) -> None:
    assume(not any(mark in content for mark in MARKS))
    assume(name != "glm4" or not content.endswith("\n"))
    written = get_tool_format(name).write_calls(calls)
    assert parse_tool_calls(written, name) == ParsedTurn("", tuple(calls))
    if content:
        both = f"{content}\n{written}"
        assert parse_tool_calls(both, name) == ParsedTurn(content, tuple(calls))


@pytest.mark.parametrize("name", ["qwen", "mistral", "llama3", "glm4"])
@settings(max_examples=40, deadline=None)
@given(calls=CALLS)
def test_native_reads_what_templates_write(name: str, calls: list[ToolCall]) -> None:
    assert parse_tool_calls(TOOL_FORMATS[name].write_calls(calls), "native").calls == tuple(calls)


@pytest.mark.parametrize("name", [*sorted(TOOL_FORMATS), "native"])
@given(text=st.text(alphabet="ab \n。", max_size=30))
def test_plain_answers_make_no_calls(name: str, text: str) -> None:
    assert parse_tool_calls(text, name) == ParsedTurn(text, ())


WRITTEN = {
    "default": (
        'Action: get_weather\nAction Input: {"city": "北京"}\nAction: now\nAction Input: {}'
    ),
    "glm4": 'get_weather\n{"city": "北京"}\nnow\n{}',
    "llama3": (
        '{"name": "get_weather", "parameters": {"city": "北京"}}\n{"name": "now", "parameters": {}}'
    ),
    "mistral": (
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "北京"}}, {"name": "now", "arguments": {}}]'
    ),
    "qwen": (
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "北京"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    ),
}
RESULTS = {
    "default": 'Observation: {"t": 28}',
    "glm4": '{"t": 28}',
    "llama3": '{"t": 28}',
    "mistral": '[TOOL_RESULTS] {"content": {"t": 28}}[/TOOL_RESULTS]',
    "qwen": '<tool_response>\n{"t": 28}\n</tool_response>',
}


@pytest.mark.parametrize("name", sorted(TOOL_FORMATS))
def test_calls_and_results_as_published(name: str) -> None:
    form = TOOL_FORMATS[name]
    assert form.write_calls(TWO) == WRITTEN[name]
    assert form.write_result('{"t": 28}') == RESULTS[name]


def test_mistral_quotes_a_result_that_is_no_json() -> None:
    written = TOOL_FORMATS["mistral"].write_result('say "ah"')
    assert written == '[TOOL_RESULTS] {"content": "say \\"ah\\""}[/TOOL_RESULTS]'


DESCRIBED = {
    "default": (
        "You can use these tools:\n\n- get_weather: Weather of a city\n  - city (string, required): 城市\n"
        "  - unit (string): one of C, F\n\nTo use one, write two lines and stop:\n"
        "Action: the tool's name, one of get_weather\nAction Input: its arguments as one JSON object"
    ),
    "mistral": (
        '[AVAILABLE_TOOLS] [{"type": "function", "function": {"name": "f", "parameters": {}}}][/AVAILABLE_TOOLS]'
    ),
    "qwen": (
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function"
        ' signatures within <tools></tools> XML tags:\n<tools>\n{"type": "function", "function": {"name": "f",'
        ' "parameters": {}}}\n</tools>\n\nFor each function call, return a json object with function name and arguments'
        ' within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments":'
        " <args-json-object>}\n</tool_call>"
    ),
    "llama3": (
        "You have access to the following functions. To call a function, please respond with JSON for a function call."
        ' Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.'
        ' Do not use variables.\n\n{\n    "type": "function",\n    "function": {\n        "name": "f",\n'
        '        "parameters": {}\n    }\n}'
    ),
    "glm4": (
        "你是一个名为 ChatGLM 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 模型开发的，"
        "你的任务是针对用户的问题和要求提供适当的答复和支持。\n\n# 可用工具\n\n## f\n\n"
        '{\n    "name": "f",\n    "parameters": {}\n}\n'
        "在调用上述函数时，请使用 Json 格式表示调用的参数。"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TOOL_FORMATS))
def test_descriptions(name: str) -> None:
    bare: dict[str, Any] = WEATHER if name == "default" else {"name": "f", "parameters": {}}
    form = TOOL_FORMATS[name]
    assert form.describe([bare]) == DESCRIBED[name]
    assert form.describe([{"type": "function", "function": bare}]) == DESCRIBED[name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("default", "Action: f\nAction Input: {broken"),
        ("default", "Action: f\nAction Input: [1]"),
        ("qwen", '<tool_call>\n{"name": "f"}\n</tool_call>'),
        ("qwen", "<tool_call>\nnothing"),
        ("llama3", '{"name": "f", "parameters": {"a": '),
        ("mistral", "[TOOL_CALLS] f(1)"),
        ("mistral", '[TOOL_CALLS] [{"name": "f"}]'),
        ("glm4", "f\n{broken"),
        ("native", "<tool_call>\nnothing"),
    ],
)
def test_broken_calls_are_told_from_answers(name: str, text: str) -> None:
    assert parse_tool_calls(text, name) == ParsedTurn(text, (), malformed=True)


def test_tags_within_arguments() -> None:
    call: ToolCall = {"name": "f", "arguments": {"x": "</tool_call> <tool_call>"}}
    assert parse_tool_calls(TOOL_FORMATS["qwen"].write_calls([call]), "qwen").calls == (call,)


def test_a_mistral_list_without_its_mark() -> None:
    text = '[{"name": "f", "arguments": {"x": 1}}]'
    assert parse_tool_calls(text, "mistral").calls == ({"name": "f", "arguments": {"x": 1}},)


def test_what_follows_a_react_call_is_left_out() -> None:
    text = 'I will look.\nAction: f\nAction Input: {"x": 1}\nObservation: 3'
    assert parse_tool_calls(text, "default") == ParsedTurn(
        "I will look.", ({"name": "f", "arguments": {"x": 1}},)
    )


def test_unknown_format() -> None:
    with pytest.raises(
        ConfigError, match="tool_format=yaml is unknown: use one of native, default"
    ):
        parse_tool_calls("x", "yaml")


def test_a_tool_without_a_name() -> None:
    with pytest.raises(DataError, match="a tool has no name"):
        TOOL_FORMATS["qwen"].describe([{"description": "nameless"}])
