"""Answers of chats in the form of the Responses API, whole or as its events; nothing of them is stored."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

from medray.serve.protocol.responses import ResponsesBody

Item = dict[str, Any]
CUT = {"reason": "max_output_tokens"}
EVENT = "data: "
DONE = "[DONE]"


def as_response(body: ResponsesBody, answer: dict[str, Any]) -> dict[str, Any]:
    """The whole answer of the chat that `body` stands for, as a response."""
    choice = answer["choices"][0]
    output = _Output()
    for _ in output.of(choice["message"]):
        pass
    for _ in output.ends():
        pass
    response = _response(body, answer["model"], answer["created"])
    return _ended(response, output, choice["finish_reason"], answer)


async def response_events(
    body: ResponsesBody, model: str, chunks: AsyncIterator[str]
) -> AsyncIterator[str]:
    """The events of a response, from those of the chat that `body` stands for."""
    response = _response(body, model, int(time.time()))
    numbers = iter(range(2**63))

    def event(kind: str, **fields: Any) -> str:
        data = {"type": kind, "sequence_number": next(numbers), **fields}
        return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"

    yield event("response.created", response=response)
    yield event("response.in_progress", response=response)
    output, finish, last = _Output(), "stop", dict[str, Any]()
    async for packet in chunks:
        said = packet.removeprefix(EVENT).strip()
        if said == DONE:
            break
        chunk = json.loads(said)
        if "error" in chunk:
            error = {name: chunk["error"][name] for name in ("code", "message", "param")}
            yield event("error", **error)
            return
        last["usage"] = chunk.get("usage") or last.get("usage")
        last["medray_safety"] = _together(last.get("medray_safety"), chunk.get("medray_safety"))
        for choice in chunk["choices"]:
            finish = choice.get("finish_reason") or finish
            for kind, fields in output.of(choice["delta"]):
                safety = chunk.get("medray_safety")
                yield event(kind, **fields, **({"medray_safety": safety} if safety else {}))
    for kind, fields in output.ends():
        yield event(kind, **fields)
    ended = _ended(response, output, finish, last)
    yield event(f"response.{ended['status']}", response=ended)


class _Output:
    """The items of a response as they grow: reasoning, a message, calls of functions, in the order they came."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._open: Item | None = None
        self._call: int | None = None

    def of(self, delta: dict[str, Any]) -> Iterator[tuple[str, Item]]:
        """The events of a delta, or of a whole message."""
        if thought := delta.get("reasoning") or delta.get("reasoning_content"):
            yield from self._text("reasoning", thought)
        if said := delta.get("content"):
            yield from self._text("message", said)
        for call in delta.get("tool_calls") or ():
            yield from self._function(call)

    def ends(self) -> Iterator[tuple[str, Item]]:
        """The events that close what is open."""
        item, self._open, self._call = self._open, None, None
        if item is None:
            return
        item["status"] = "completed"
        place = {"item_id": item["id"], "output_index": len(self.items) - 1}
        if item["type"] == "function_call":
            yield (
                "response.function_call_arguments.done",
                {**place, "arguments": item["arguments"], "name": item["name"]},
            )
        else:
            part = item["content"][0]
            kind = "reasoning" if item["type"] == "reasoning" else "output"
            place |= {"content_index": 0}
            logprobs = {} if kind == "reasoning" else {"logprobs": []}
            yield f"response.{kind}_text.done", {**place, "text": part["text"], **logprobs}
            yield "response.content_part.done", {**place, "part": part}
        yield "response.output_item.done", {"output_index": len(self.items) - 1, "item": item}

    def _text(self, kind: str, text: str) -> Iterator[tuple[str, Item]]:
        name = "reasoning" if kind == "reasoning" else "output"
        if self._open is None or self._open["type"] != kind:
            yield from self.ends()
            part: Item = {"type": f"{name}_text", "text": ""}
            part |= {"annotations": [], "logprobs": []} if kind == "message" else {}
            item: Item = {"type": kind, "id": f"{kind[:3]}_{uuid4().hex}", "content": []}
            item |= {"role": "assistant"} if kind == "message" else {"summary": []}
            yield from self._added(item)
            item["content"].append(part)
            place = {"item_id": item["id"], "output_index": len(self.items) - 1}
            yield "response.content_part.added", {**place, "content_index": 0, "part": dict(part)}
        assert self._open is not None
        self._open["content"][0]["text"] += text
        place = {"item_id": self._open["id"], "output_index": len(self.items) - 1}
        logprobs = {} if kind == "reasoning" else {"logprobs": []}
        yield (
            f"response.{name}_text.delta",
            {**place, "content_index": 0, "delta": text, **logprobs},
        )

    def _function(self, call: Item) -> Iterator[tuple[str, Item]]:
        function = call.get("function") or {}
        index = call.get("index", len(self.items))
        if self._open is None or self._open["type"] != "function_call" or self._call != index:
            yield from self.ends()
            item: Item = {"type": "function_call", "id": f"fc_{uuid4().hex}", "arguments": ""}
            item |= {"call_id": call.get("id") or f"call_{uuid4().hex}", "name": function["name"]}
            yield from self._added(item)
            self._call = index
        assert self._open is not None
        if more := function.get("arguments"):
            self._open["arguments"] += more
            place = {"item_id": self._open["id"], "output_index": len(self.items) - 1}
            yield "response.function_call_arguments.delta", {**place, "delta": more}

    def _added(self, item: Item) -> Iterator[tuple[str, Item]]:
        item["status"] = "in_progress"
        self.items.append(item)
        self._open = item
        shown = json.loads(json.dumps(item))  # as it is now: it grows
        yield "response.output_item.added", {"output_index": len(self.items) - 1, "item": shown}


def _response(body: ResponsesBody, model: str, created: int) -> dict[str, Any]:
    asked = body.model_dump(mode="json", exclude_none=True, by_alias=True)
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "model": model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": body.reasoning and body.reasoning.effort, "summary": None},
        "store": False,
        "temperature": body.temperature,
        "text": {"format": asked.get("text", {}).get("format", {"type": "text"})},
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": asked.get("tools", []),
        "top_p": body.top_p,
        "truncation": "disabled",
        "usage": None,
        "metadata": body.metadata or {},
    }


def _ended(
    response: dict[str, Any], output: _Output, finish: str, told: dict[str, Any]
) -> dict[str, Any]:
    """The response with its end: what it holds, whether it was cut, what it took."""
    cut = finish == "length"
    if cut and output.items:
        output.items[-1]["status"] = "incomplete"
    ended = {**response, "output": output.items, "usage": _usage(told.get("usage") or {})}
    ended |= {"status": "incomplete" if cut else "completed"}
    ended |= {"incomplete_details": CUT if cut else None}
    if told.get("medray_safety"):
        ended["medray_safety"] = told["medray_safety"]
    return ended


def _together(one: Item | None, other: Item | None) -> Item | None:
    """What two events of an answer say that the safety rules added."""
    if not one or not other:
        return one or other
    lists = {k: list(dict.fromkeys([*one[k], *other[k]])) for k in ("red_flags", "answer_faults")}
    return {**one, **other, **lists}


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": usage.get("prompt_tokens", 0),
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": usage.get("completion_tokens", 0),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.get("total_tokens", 0),
    }
