"""The Responses API by the chat that a request stands for: its fields, its items, its events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from medray.config.serve import LimitsConfig
from medray.serve.errors import ApiError
from medray.serve.protocol.bodies import ChatBody
from medray.serve.protocol.parsing import parse
from medray.serve.protocol.response_events import as_response, response_events
from medray.serve.protocol.responses import ResponsesBody

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def _read(**fields: Any) -> ResponsesBody:
    return parse(ResponsesBody, {"model": "m", "input": "hello", **fields}, LimitsConfig())


def _chat(**fields: Any) -> ChatBody:
    return parse(ChatBody, _read(**fields).chat(), LimitsConfig())


def test_items_become_messages() -> None:
    answer = {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed"}
    answer["content"] = [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}]  # type: ignore[assignment]
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        answer,
        {"type": "reasoning", "id": "rs_1", "summary": []},
        CALL,
        {"type": "function_call_output", "call_id": "c1", "output": "5"},
        {"role": "user", "content": "thanks"},
    ]
    chat = _chat(input=items, instructions="Be brief.", tools=[TOOL])
    assert [m.role for m in chat.messages] == ["system", "user", "assistant", "tool", "user"]
    called = chat.messages[2]
    assert called.content[0].text == "hi"  # type: ignore[index,union-attr]
    assert called.tool_calls[0].function.name == "f"  # type: ignore[union-attr,index]


def test_settings_become_those_of_a_chat() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    chat = _chat(text={"format": form}, max_output_tokens=5, temperature=0, stream=True)
    assert chat.response_format is not None
    assert chat.response_format.json_schema is not None
    assert chat.response_format.json_schema.schema_ == {"type": "object"}
    assert (chat.max_tokens, chat.temperature, chat.stream) == (5, 0, True)
    assert chat.stream_options is not None
    assert chat.stream_options.include_usage
    chat = _chat(tools=[TOOL], tool_choice={"type": "function", "name": "f"})
    assert chat.tool_choice.function.name == "f"  # type: ignore[union-attr]
    assert _chat(reasoning={"effort": "low"}).reasoning_effort == "low"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
        ({"background": True}, "background"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content.0.type"),
        ({"input": [{**CALL, "arguments": "[1]"}]}, "input.0.arguments"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"max_output_tokens": 10**6}, "max_output_tokens"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
        ({"text": {"format": {"type": "json_schema", "name": "n", "schema": {"$ref": "#"}}}}, "text.format.schema"),
        ({"tools": [{**TOOL, "parameters": {"$ref": "#"}}]}, "tools.0.parameters"),
        ({"prompt_logprobs": 1}, "prompt_logprobs"),
        ({"cache_salt": "x"}, "cache_salt"),
    ],
)  # fmt: skip
def test_mistakes_name_their_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        _chat(**fields)
    assert caught.value.status == 400
    assert caught.value.param == param


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
SAFETY = {"red_flags": ["chest_pain"], "answer_faults": []}
CHUNKS = [
    _choice({"role": "assistant", "content": ""}),
    {**_choice({"content": "Call 112. "}), "medray_safety": SAFETY},
    _choice({"reasoning": "hm"}),
    _choice({"content": "It "}),
    _choice({"content": "hurts."}),
    _choice({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}]}),
    _choice({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
    _choice({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
    _choice({"tool_calls": [{"index": 1, "id": "c2", "function": {"name": "f", "arguments": "{}"}}]}),
    {**_choice({}, "tool_calls"), "medray_safety": {"red_flags": [], "answer_faults": ["x"]}},
    {"choices": [], "usage": USAGE},
]  # fmt: skip


def _events(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    async def packets() -> AsyncIterator[str]:
        for chunk in chunks:
            yield f"data: {json.dumps(chunk)}\n\n"
        yield "data: [DONE]\n\n"

    async def collect() -> list[str]:
        return [event async for event in response_events(_read(stream=True), "m", packets())]

    found: list[dict[str, Any]] = []
    for event in asyncio.run(collect()):
        head, data = event.strip().split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert head == f"event: {found[-1]['type']}"
    return found


def test_every_event_is_one_that_the_official_client_knows() -> None:
    events = _events(CHUNKS)
    for event in events:
        EVENT.validate_python(event)
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    added = [e["item"]["type"] for e in events if e["type"] == "response.output_item.added"]
    assert added == ["message", "reasoning", "message", "function_call", "function_call"]
    assert len([e for e in events if e["type"] == "response.output_item.done"]) == len(added)
    said = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert said == ["Call 112. ", "It ", "hurts."]


def test_the_last_event_has_the_whole_response() -> None:
    last = _events(CHUNKS)[-1]
    assert last["type"] == "response.completed"
    response = Response.model_validate(last["response"])
    assert response.output_text == "Call 112. It hurts."
    assert [i.arguments for i in response.output if i.type == "function_call"] == ['{"a":1}', "{}"]
    assert response.usage is not None
    assert response.usage.output_tokens == 4
    assert last["response"]["medray_safety"] == {
        "red_flags": ["chest_pain"],
        "answer_faults": ["x"],
    }


def test_an_answer_that_is_cut_is_incomplete() -> None:
    last = _events([_choice({"content": "It "}), _choice({}, "length")])[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_a_failure_in_the_stream_is_its_last_event() -> None:
    error = {"message": "gone", "type": "server_error", "param": None, "code": "replica_lost"}
    events = _events([_choice({"content": "It "}), {"error": error}])
    EVENT.validate_python(events[-1])
    assert (events[-1]["type"], events[-1]["code"]) == ("error", "replica_lost")


def test_a_whole_answer() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "hi", "reasoning": "hm", "tool_calls": [call]}
    answer = {"model": "m", "created": 5, "usage": USAGE, "medray_safety": SAFETY}
    answer["choices"] = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    whole = as_response(_read(metadata={"a": "b"}), answer)
    response = Response.model_validate(whole)
    assert response.output_text == "hi"
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert (response.status, response.created_at, whole["store"]) == ("completed", 5, False)
    assert whole["medray_safety"] == SAFETY
