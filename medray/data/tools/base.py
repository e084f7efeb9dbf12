"""What a tool format does, and the shapes of tools and calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from medray.errors import DataError
from medray.types import ToolCall

Tool = Mapping[str, Any]


class ParsedTurn(NamedTuple):
    """An assistant's turn read back: what it says, and the calls it makes.

    `malformed` is True when the turn begins a call that cannot be read; `content` is then the whole text.
    """

    content: str
    calls: tuple[ToolCall, ...]
    malformed: bool = False


class ToolFormat(Protocol):
    """One wire format. Texts are what stands inside the template's own message blocks."""

    name: str
    result_role: str
    """Role of the message that carries results: "tool" where templates give it a block of its own, else "user"."""
    own_block: bool
    """True when the description stands before the system text in a block of its own, for templates that have one."""

    def describe(self, tools: Sequence[Tool]) -> str:
        """The part of the system prompt that tells which tools there are and how to call them."""
        ...

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        """The text with which the assistant makes these calls."""
        ...

    def write_result(self, content: str) -> str:
        """The text that tells the assistant the result of a call."""
        ...

    def parse(self, text: str) -> ParsedTurn:
        """Read an assistant's turn: the inverse of content followed by `write_calls`."""
        ...


def function_of(tool: Tool) -> Tool:
    """The function's own description, whether or not it is wrapped as `{"type": "function", "function": ...}`.

    Raises:
        DataError: it has no name.
    """
    function = tool.get("function") if isinstance(tool.get("function"), Mapping) else tool
    if not isinstance(function, Mapping) or not function.get("name"):
        raise DataError(f"a tool has no name: {to_json(dict(tool))[:120]}")
    return function


def wrapped(tool: Tool) -> dict[str, Any]:
    """The description as `{"type": "function", "function": ...}`."""
    return {"type": "function", "function": dict(function_of(tool))}


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON as models write it: no escapes for other scripts."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def read_call(value: Any, arguments_key: str) -> ToolCall | None:
    """A call from decoded JSON, or None when it is not one."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        return None
    arguments = value.get(arguments_key)
    return {"name": value["name"], "arguments": arguments} if isinstance(arguments, dict) else None


def read_json(text: str, start: int) -> tuple[Any, int] | None:
    """The JSON value that begins at `start`, and where it ends; None when there is none."""
    try:
        return json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return None


def skip_space(text: str, start: int) -> int:
    """The first place from `start` on that is no space, line break or semicolon."""
    while start < len(text) and text[start] in " \t\r\n;":
        start += 1
    return start
