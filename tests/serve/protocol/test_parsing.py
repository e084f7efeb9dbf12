"""Bodies of requests: what passes to the engine, and the 400 with the field's name for everything else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
)

from medray.config.serve import LimitsConfig
from medray.serve.errors import ApiError
from medray.serve.protocol.bodies import AnyBody, ChatBody, CompletionBody, engine_fields
from medray.serve.protocol.json_body import MAX_DEPTH, read_json
from medray.serve.protocol.parsing import parse
from medray.serve.protocol.schemas import fault

USER = {"role": "user", "content": "How is asthma treated?"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
VOUCHED_FOR = {
    *("model", "n", "max_tokens", "min_tokens", "temperature", "top_p", "top_k", "min_p", "seed"),
    *("frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "stop", "user"),
    *("stop_token_ids", "include_stop_str_in_output", "ignore_eos", "skip_special_tokens"),
    *("spaces_between_special_tokens", "stream", "stream_options", "response_format"),
    *("structured_outputs", "logprobs"),
}
OF_CHATS = VOUCHED_FOR | {
    *("messages", "max_completion_tokens", "top_logprobs", "tools", "tool_choice"),
    *("parallel_tool_calls", "reasoning_effort", "include_reasoning", "chat_template_kwargs"),
}
OF_COMPLETIONS = VOUCHED_FOR | {"prompt", "echo", "add_special_tokens"}


def _read(kind: type[AnyBody], body: dict[str, Any]) -> AnyBody:
    raw = read_json(json.dumps(body).encode(), "application/json; charset=utf-8")
    return parse(kind, raw, LimitsConfig())


def _chat(**fields: Any) -> ChatBody:
    body = _read(ChatBody, {"messages": [USER], **fields})
    assert isinstance(body, ChatBody)
    return body


def _completion(**fields: Any) -> AnyBody:
    return _read(CompletionBody, {"prompt": "fever", **fields})


def _refused(kind: type[AnyBody], **fields: Any) -> ApiError:
    base: dict[str, Any] = {"messages": [USER]} if kind is ChatBody else {"prompt": "fever"}
    with pytest.raises(ApiError) as caught:
        _read(kind, {**base, **fields})
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize("value", [None, 0, 1, "x", [], {}, True])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((ChatBody, name) for name in sorted({*ChatCompletionRequest.model_fields} - OF_CHATS)),
        *((CompletionBody, name) for name in sorted({*CompletionRequest.model_fields} - OF_COMPLETIONS)),
        *((ChatBody, name) for name in ("guided_json", "best_of", "functions", "nonsense")),
    ],
)  # fmt: skip
def test_fields_that_nobody_vouches_for_are_refused_by_name(
    kind: type[AnyBody], name: str, value: Any
) -> None:
    error = _refused(kind, **{name: value})
    assert error.param == name
    assert name in error.message
    assert error.code == "unknown_parameter"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x"),
        ({"tools": []}, "tools"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": "required", "tools": None}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools.0.function.parameters"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
         "response_format.json_schema.schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [5]}, "messages.0"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
        ({"messages": [{"role": "critic", "content": "x"}]}, "messages.0"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id"),
        ({"messages": [USER, {"role": "user", "content": [{"type": "input_text", "text": "x"}]}]},
         "messages.1.content.0.type"),
        ({"messages": [USER, {"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages.1.content.0.text"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages.0.content"),
        ({"user": "a\udfff"}, "user"),
        ({"stop": ["a", "b", "c", "d", "e", "f"]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10, "min_tokens": 11}, "min_tokens"),
        ({"max_completion_tokens": 10**6}, "max_completion_tokens"),
        ({"n": 9}, "n"),
        ({"seed": 2**63}, "seed"),
        ({"logit_bias": {"word": 1}}, "logit_bias.word"),
        ({"store": True}, "store"),
        ({"chat_template_kwargs": {"template": "{{ 1 }}"}}, "chat_template_kwargs.template"),
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
        ({"structured_outputs": {"grammar": "start: 'a'"}}, "structured_outputs.grammar"),
    ],
)  # fmt: skip
def test_mistakes_in_chats_name_their_field(fields: dict[str, Any], param: str) -> None:
    error = _refused(ChatBody, **fields)
    assert error.param == param
    assert param.split(".")[0] in error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [""]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": [1, -1]}, "prompt"),
        ({"prompt": [10**12]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": ["a", [1]]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": ["a"] * 100, "n": 2}, "n"),
        ({"echo": True, "logprobs": 1, "stream": True}, "stream"),
        ({"logprobs": -1}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
    ],
)
def test_mistakes_in_completions_name_their_field(fields: dict[str, Any], param: str) -> None:
    error = _refused(CompletionBody, **fields)
    assert (error.param or "").split(".")[0] == param


ENDLESS = [
    {"$ref": "#"},
    {"anyOf": [{"type": "string"}, {"$ref": "#"}]},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}},
    {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}},
]  # fmt: skip
WRONG = [
    {"$ref": "https://example.org/schema"},
    {"$ref": "#/$defs/none"},
    {"type": "string", "minLength": 10**9},
    {"type": "array", "items": {"type": "string", "maxLength": -1}},
]


@pytest.mark.parametrize("schema", [*ENDLESS, *WRONG])
def test_schemas_that_nothing_can_follow_are_refused_wherever_they_stand(schema: Any) -> None:
    named = {"name": "n", "schema": schema}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    for fields, param in (
        ({"response_format": {"type": "json_schema", "json_schema": named}}, "response_format.json_schema.schema"),
        ({"structured_outputs": {"json": schema}}, "structured_outputs.json"),
        ({"tools": [tool]}, "tools.0.function.parameters"),
    ):  # fmt: skip
        error = _refused(ChatBody, **fields)
        assert error.param == param


@pytest.mark.parametrize(
    ("kind", "fields", "param"),
    [
        (ChatBody, {"messages": [{"role": "user", "content": 5}, {"role": "critic"}]}, "messages.0.content"),
        (ChatBody, {"messages": [USER, 5] + [5] * 9000}, "messages.1"),
        (ChatBody, {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, *([5] * 900)]}]},
         "messages.0.content.1"),
        (ChatBody, {"tools": [TOOL, *([5] * 100)]}, "tools.1"),
        (CompletionBody, {"prompt": [1, *([-1] * 9000)]}, "prompt"),
        (CompletionBody, {"prompt": [[1], [1, *([-1] * 9000)]]}, "prompt.1.1"),
    ],
)  # fmt: skip
def test_the_first_wrong_element_of_a_list_is_named_and_the_rest_is_not_read(
    kind: type[AnyBody], fields: dict[str, Any], param: str
) -> None:
    """A list of a million wrong elements would hold every stream while each is described."""
    error = _refused(kind, **fields)
    assert (error.param or "").startswith(param)
    base = {"messages": [USER]} if kind is ChatBody else {}
    with pytest.raises(ValidationError) as caught:
        kind.model_validate({"model": "m", **base, **fields})
    assert caught.value.error_count() <= 3


def _chain(size: int) -> dict[str, Any]:
    links = {str(i): {"$ref": f"#/$defs/{i + 1}"} for i in range(size)}
    return {"$ref": "#/$defs/0", "$defs": {str(size): {"type": "string"}, **links}}


def _many_pointers_to_one(size: int) -> dict[str, Any]:
    def pointers(name: str) -> dict[str, Any]:
        return {"anyOf": [{"$ref": f"#{i}/$defs/{name}"} for i in range(size)]}

    return {**pointers("b"), "$defs": {"b": pointers("c"), "c": {"type": "string"}}}


def _cpu_seconds(schema: Any) -> float:
    """The least of three: other processes only add."""
    seconds: list[float] = []
    for _ in range(3):
        began = time.process_time()
        assert fault(schema) is None
        seconds.append(time.process_time() - began)
    return min(seconds)


@pytest.mark.parametrize("schema", [_chain, _many_pointers_to_one])
def test_references_take_time_in_proportion_to_the_schema(
    schema: Callable[[int], dict[str, Any]],
) -> None:
    size, times = 500, 16
    small, large = _cpu_seconds(schema(size)), _cpu_seconds(schema(size * times))
    assert large < small * times * 5  # its square is 16 times as much again


@pytest.mark.parametrize("index", ["²", "9" * 5000, "-1", ""])
def test_a_pointer_with_an_odd_index_points_nowhere(index: str) -> None:
    assert "points nowhere" in (fault({"anyOf": [{"$ref": f"#/anyOf/{index}"}]}) or "")


def test_a_schema_may_contain_itself() -> None:
    node = {"type": "object", "properties": {"left": {"$ref": "#"}, "$ref": {"type": "string"}}}
    assert _chat(structured_outputs={"json": node}).constraints()[0].value == node


def test_what_clients_send_passes_and_the_engine_sees_what_concerns_it() -> None:
    sent_back = {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None}
    sent_back |= {"audio": None, "function_call": None, "annotations": []}
    messages = [
        {"role": "System", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        USER,
        sent_back,
        {"role": "tool", "tool_call_id": "1", "content": "5"},
        {"role": "assistant", "content": "", "tool_calls": []},
    ]  # fmt: skip
    ignored = {"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto"}
    ignored |= {"prompt_cache_key": "k", "safety_identifier": "s", "modalities": ["text"]}
    fields = engine_fields(
        _chat(messages=messages, stop=None, temperature=1, tools=[TOOL], **ignored)
    )
    assert not ignored.keys() & fields.keys()
    assert "stop" not in fields
    request = ChatCompletionRequest.model_validate(fields)
    assert request.temperature == 1
    assert fields["messages"][0]["role"] == "system"
    assert fields["messages"][1]["content"] == USER["content"]
    assert "content" not in fields["messages"][2]
    assert fields["messages"][4] == {"role": "assistant", "content": ""}


def test_requests_have_ids_of_their_own_in_the_engine() -> None:
    body = _chat()
    assert engine_fields(body)["request_id"] != engine_fields(body)["request_id"]


@pytest.mark.parametrize(("prompt", "sent"), [
    ("a", "a"), (["a"], "a"), (["a", "b"], ["a", "b"]), ([1, 2], [1, 2]), ([[1, 2]], [1, 2]), ([[1], [2]], [[1], [2]]),
])  # fmt: skip
def test_prompts_come_in_four_ways(prompt: Any, sent: Any) -> None:
    assert engine_fields(_completion(prompt=prompt))["prompt"] == sent


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff{}", "not valid JSON"),
        (b'{"temperature": NaN}', "not valid JSON"),
        (b'{"temperature": 1e999}', "temperature"),
        (b"[1]", "JSON object"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": ' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "deep"),
        (b'{"\\udc00": 1}', "surrogate"),
        (b'{"a": ["\\ud800x"]}', "a.0"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_bodies_that_are_no_json_object(body: bytes, said: str) -> None:
    with pytest.raises(ApiError, match=said) as caught:
        read_json(body, "application/json")
    assert caught.value.status == 400


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_named(content_type: str) -> None:
    with pytest.raises(ApiError, match="Content-Type") as caught:
        read_json(b"{}", content_type)
    assert caught.value.status == 400


def test_pairs_of_surrogates_are_text() -> None:
    assert read_json(b'{"a": "\\ud83d\\ude00"}', "application/json") == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"a": [{"b": [0, 1e999]}]}', "a.0.b.1"),
        (b'{"a": "\\ud800"}', "a"),
        (b'{"a": {"b\\ud800": 1}}', "a"),
        (b'{"\\ud800": 1}', None),
        (b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", ".".join(["a"] + ["0"] * (MAX_DEPTH - 1))),
    ],
)
def test_what_json_cannot_carry_on_is_named_by_its_place(body: bytes, param: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        read_json(body, "application/json")
    assert caught.value.param == param
    assert caught.value.message.startswith(param or "the body")
