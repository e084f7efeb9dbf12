"""Whole dialogues with tools, in each format and template."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.data.rendering.chat import render_chat
from medray.data.templates.registry import TEMPLATES, apply_template
from medray.data.tools.registry import TOOL_FORMATS, parse_tool_calls
from medray.errors import ConfigError, DataError
from tests.support.chats import byte_tokenizer, chat, decoded

TOOL = {"name": "f", "parameters": {}}
CALL = {"name": "f", "arguments": {"x": 1}}
ASSISTANT = {"role": "assistant", "content": "", "tool_calls": (CALL,)}
DIALOGUE = [*chat("u:Q"), ASSISTANT, *chat("t:28", "a:Warm")]

GOLDENS = {
    ("qwen", "qwen"): (
        "<|im_start|>system\nYou are a helpful assistant.\n\n{tools}<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{{"name": "f", "arguments": {{"x": 1}}}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n28\n</tool_response><|im_end|>\n<|im_start|>assistant\nWarm<|im_end|>\n"
    ),
    ("llama3", "llama3"): (
        "<s><|start_header_id|>system<|end_header_id|>\n\n{tools}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        '{{"name": "f", "parameters": {{"x": 1}}}}<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n28<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\nWarm<|eot_id|>"
    ),
    ("mistral", "mistral"): (
        '<s>{tools}[INST] Q[/INST][TOOL_CALLS] [{{"name": "f", "arguments": {{"x": 1}}}}]</s>'
        '[TOOL_RESULTS] {{"content": 28}}[/TOOL_RESULTS] Warm</s>'
    ),
    ("chatglm3", "glm4"): (
        "[gMASK]sop<|system|>\n{tools}<|user|>\nQ<|assistant|>f\n"
        '{{"x": 1}}<|observation|>\n28<|assistant|>\nWarm<|user|>'
    ),
    ("vicuna", "default"): (
        "<s>{system}\n\n{tools} USER: Q ASSISTANT: Action: f\nAction Input: {{\"x\": 1}}</s>"
        "USER: Observation: 28 ASSISTANT: Warm</s>"
    ),
    ("llama3", "default"): (
        "<s><|start_header_id|>system<|end_header_id|>\n\n{tools}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        'Action: f\nAction Input: {{"x": 1}}<|eot_id|>'
        "<|start_header_id|>user<|end_header_id|>\n\nObservation: 28<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nWarm<|eot_id|>"
    ),
}  # fmt: skip


def named(name: str) -> Any:
    tokenizer = byte_tokenizer()
    apply_template(tokenizer, name)
    return tokenizer


@pytest.mark.parametrize(("template", "form"), sorted(GOLDENS))
def test_dialogue(template: str, form: str) -> None:
    expected = GOLDENS[template, form].format(
        tools=TOOL_FORMATS[form].describe([TOOL]), system=TEMPLATES[template].default_system
    )
    tokenizer = named(template)
    assert render_chat(DIALOGUE, tokenizer, tools=[TOOL], tool_format=form).text == expected
    if form == TEMPLATES[template].tool_format:
        assert render_chat(DIALOGUE, tokenizer, tools=[TOOL]).text == expected


@pytest.mark.parametrize("form", sorted(TOOL_FORMATS))
@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_calls_are_trained_whole_and_can_be_read_back(template: str, form: str) -> None:
    tokenizer = named(template)
    rendered = render_chat(DIALOGUE, tokenizer, tools=[TOOL], tool_format=form)
    assert [turn.message for turn in rendered.turns] == [1, 3]
    call, answer = (decoded(tokenizer, rendered.token_ids[t.start : t.end]) for t in rendered.turns)
    written = TOOL_FORMATS[form].write_calls([CALL])
    before, found, stop = call.partition(written)
    assert found
    assert not before.strip()
    assert stop.strip()
    assert parse_tool_calls(call[: -len(stop)].strip(), form).calls == (CALL,)
    assert answer.strip().startswith("Warm")
    assert "28" not in call + answer


def test_tools_join_a_system_message() -> None:
    messages = [*chat("s:Be kind."), *DIALOGUE]
    text = render_chat(messages, named("chatml"), tools=[TOOL], tool_format="qwen").text
    description = TOOL_FORMATS["qwen"].describe([TOOL])
    assert text.startswith(f"<|im_start|>system\nBe kind.\n\n{description}<|im_end|>\n")
    assert text.count("<|im_start|>system") == 1


def test_parallel_results_share_a_turn_where_they_are_the_users() -> None:
    two = {**ASSISTANT, "tool_calls": (CALL, CALL), "content": "Let me see."}
    messages = [*chat("u:Q"), two, *chat("t:1", "t:2", "a:Warm")]
    tokenizer = named("qwen")
    rendered = render_chat(messages, tokenizer, tools=[TOOL])
    assert (
        "<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response><|im_end|>\n"
    ) in rendered.text
    call = decoded(tokenizer, rendered.token_ids[rendered.turns[0].start : rendered.turns[0].end])
    assert parse_tool_calls(call.removesuffix("<|im_end|>"), "qwen") == (
        "Let me see.",
        (CALL, CALL),
        False,
    )
    assert [turn.message for turn in rendered.turns] == [1, 4]


NATIVE = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t|tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}"
    "<call>{{ c.function.name }} {{ c.function.arguments|tojson }}</call>{{ c.id|length }}{% endfor %}{% endif %}"
    "{% if m.role == 'tool' %}{{ m.name }}{{ m.tool_call_id }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3))
def test_the_templates_own_way(arguments: dict[str, Any]) -> None:
    tokenizer = byte_tokenizer("<|im_start|>", "<|im_end|>", template=NATIVE)
    call = {"id": "whatever", "type": "function"}
    call["function"] = {"name": "f", "arguments": arguments}
    messages = [*chat("u:Q"), {**ASSISTANT, "tool_calls": [call]}, {**chat("t:28")[0], "name": "f"}]
    messages += chat("a:Warm")
    rendered = render_chat(messages, tokenizer, tools=[TOOL])
    assert '{"type": "function", "function": {"name": "f", "parameters": {}}}' in rendered.text
    assert "28fcall00000<|im_end|>" in rendered.text
    first, last = (decoded(tokenizer, rendered.token_ids[t.start : t.end]) for t in rendered.turns)
    assert first.startswith("<call>f {")
    assert first.endswith("}</call>9<|im_end|>")
    assert last == "Warm<|im_end|>"


def test_native_needs_a_template_that_takes_tools() -> None:
    with pytest.raises(ConfigError, match="does not support tools: set tool_format=default"):
        render_chat(DIALOGUE, byte_tokenizer(), tools=[TOOL], tool_format="native")


def test_a_template_without_tools_gets_the_default_format() -> None:
    text = render_chat(DIALOGUE, byte_tokenizer("<|im_end|>"), tools=[TOOL]).text
    assert "Action: f\nAction Input: {" in text
    assert "You can use these tools" in text


def test_arguments_as_json_text() -> None:
    written = {**ASSISTANT, "tool_calls": [{"name": "f", "arguments": '{"x": 1}'}]}
    messages = [*chat("u:Q"), written]
    assert (
        render_chat(messages, named("qwen")).text == render_chat(DIALOGUE[:2], named("qwen")).text
    )


@pytest.mark.parametrize(
    "call", [{"name": "f", "arguments": "{x"}, {"arguments": {}}, {"name": "f", "arguments": "3"}]
)
def test_malformed_calls(call: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="a tool call needs a name and its arguments"):
        render_chat([*chat("u:Q"), {**ASSISTANT, "tool_calls": [call]}], named("qwen"))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"role": "doctor", "content": "x"}, "role 'doctor' is unknown: use one of system, user"),
        ({"role": "user", "content": ["x"]}, "the content of a user message is not text"),
    ],
)
def test_malformed_messages(message: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        render_chat([message], named("qwen"))


def test_no_messages() -> None:
    with pytest.raises(DataError, match="a dialogue has no messages"):
        render_chat([], named("qwen"))
