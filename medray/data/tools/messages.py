"""Dialogues with tools rewritten into what a chat template takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medray.data.tools.base import Tool, ToolFormat, wrapped
from medray.errors import DataError
from medray.types import ToolCall

ROLES = ("system", "user", "assistant", "tool")


@dataclass
class Prepared:
    """Messages for a template, and which message of the dialogue each one came from (-1: none)."""

    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    origins: list[int] = field(default_factory=list[int])
    tools: list[dict[str, Any]] | None = None

    def add(self, origin: int, role: str, content: str, **extra: Any) -> None:
        """Append a message that was made from the original message number `origin`."""
        self.messages.append({"role": role, "content": content, **extra})
        self.origins.append(origin)


def uses_tools(messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool]) -> bool:
    """True when the dialogue cannot be rendered without a tool format."""
    return bool(tools) or any(m.get("tool_calls") or m["role"] == "tool" for m in messages)


def prepare_plain(messages: Sequence[Mapping[str, Any]]) -> Prepared:
    """A dialogue without tools: roles and texts only."""
    prepared = Prepared()
    for i, message in enumerate(messages):
        prepared.add(i, _role(message), _text(message))
    return prepared


def prepare_native(messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool]) -> Prepared:
    """Tools, calls and results in the shape that `apply_chat_template` documents.

    Calls and results carry ids of nine letters and digits, the form that the strictest templates ask for.
    """
    prepared = Prepared(tools=[wrapped(tool) for tool in tools] or None)
    waiting: list[str] = []
    count = 0
    for i, message in enumerate(messages):
        role, extra = _role(message), {}
        if message.get("tool_calls"):
            waiting = []
            for call in calls_of(message):
                waiting.append(f"call{count:05d}")
                count += 1
                extra.setdefault("tool_calls", []).append(
                    {"id": waiting[-1], "type": "function", "function": dict(call)}
                )
        elif role == "tool":
            extra = {"name": message["name"]} if message.get("name") else {}
            extra |= {"tool_call_id": waiting.pop(0)} if waiting else {}
        prepared.add(i, role, _text(message), **extra)
    return prepared


def prepare_text(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Tool],
    form: ToolFormat,
    *,
    default_system: str = "",
    has_tool_block: bool = False,
) -> Prepared:
    """Tools, calls and results written out as text.

    Args:
        messages: the dialogue.
        tools: described in the system prompt.
        form: the wire format.
        default_system: the template's own system text, which the description must not replace.
        has_tool_block: the template has a block for results, and a place for a description of its own.
    """
    prepared = Prepared()
    role = form.result_role if has_tool_block else "user"
    start = 0
    if tools:
        start = int(messages[0]["role"] == "system")
        system = _text(messages[0]) if start else default_system
        description = form.describe(tools)
        if form.own_block and has_tool_block:
            prepared.add(start - 1, "system", system, tools=description)
        else:
            text = f"{system}\n\n{description}" if system else description
            prepared.add(start - 1, "system", text)
    for i, message in enumerate(messages[start:], start=start):
        content = _text(message)
        if message.get("tool_calls"):
            calls = form.write_calls(list(calls_of(message)))
            extra = {} if content else {"call": True}
            if content and not content.endswith("\n"):  # as after a thought
                content += "\n"
            prepared.add(i, "assistant", content + calls, **extra)
        elif _role(message) != "tool":
            prepared.add(i, message["role"], content)
        elif role == "user" and i > start and messages[i - 1]["role"] == "tool":
            prepared.messages[-1]["content"] += "\n" + form.write_result(content)
        else:
            extra = {"result": True} if role == "tool" and form.own_block else {}
            prepared.add(i, role, form.write_result(content), **extra)
    return prepared


def calls_of(message: Mapping[str, Any]) -> Iterator[ToolCall]:
    """The calls of an assistant's message, in whichever of the two usual shapes, arguments decoded.

    Raises:
        DataError: a call has no name, or its arguments are no JSON object.
    """
    for call in message["tool_calls"]:
        function = call.get("function", call)
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except ValueError:
                arguments = None
        if not function.get("name") or not isinstance(arguments, Mapping):
            raise DataError(
                f"a tool call needs a name and its arguments as a JSON object: {str(call)[:120]}"
            )
        yield {"name": function["name"], "arguments": dict(arguments)}


def _role(message: Mapping[str, Any]) -> str:
    if message["role"] not in ROLES:
        raise DataError(f"role {message['role']!r} is unknown: use one of {', '.join(ROLES)}")
    return message["role"]


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise DataError(f"the content of a {message['role']} message is not text: {content!r:.80}")
    return content or ""
