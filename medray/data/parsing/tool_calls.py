"""Tools and tool calls in the forms people keep them, as canonical values."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from medray.data.parsing.fields import check_object, check_text, from_json, kind_of, require
from medray.data.source import RowError
from medray.types import Tool, ToolCall

_REACT = re.compile(r"\s*Action:[ \t]*(?P<name>[^\n]+?)[ \t]*\n\s*Action Input:[ \t]*")


def parse_tools(value: Any, name: str = "tools") -> tuple[Tool, ...]:
    """A row's tools, given as a list or as the JSON text of one, each bare or under `function`.

    Null, "" and "[]" are no tools.

    Raises:
        RowError: it is not JSON, not a list, or a tool has no name.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return ()
    found = from_json(value, name)
    if not isinstance(found, list):
        raise RowError("wrong type", f"{name!r} is {kind_of(found)}; write a list of tools")
    return tuple(_tool(tool, f"{name}[{i}]") for i, tool in enumerate(found))


def parse_calls(value: Any, name: str) -> tuple[ToolCall, ...]:
    """One call or a list of calls, as objects or JSON text: `{"name", "arguments"}`, bare or under `function`.

    Raises:
        RowError: it is not JSON, names no function, or its arguments are not an object.
    """
    found = from_json(value, name)
    calls = found if isinstance(found, list) else [found]
    if not calls:
        raise RowError("empty value", f"{name!r} calls no tool; remove it")
    return tuple(
        _call(call, f"{name}[{i}]" if len(calls) > 1 else name) for i, call in enumerate(calls)
    )


def parse_react(text: str, tool_names: Collection[str]) -> tuple[ToolCall, ...]:
    """The calls of a text that is nothing but ReAct actions on known tools; () for any other text.

    The form is `Action: NAME`, a line end, `Action Input: JSON`, once or more often.
    """
    calls: list[ToolCall] = []
    decoder = json.JSONDecoder()
    position = 0
    while match := _REACT.match(text, position):
        try:
            arguments, position = decoder.raw_decode(text, match.end())
        except ValueError:
            return ()
        if match["name"] not in tool_names or not isinstance(arguments, dict):
            return ()
        calls.append({"name": match["name"], "arguments": arguments})
    return tuple(calls) if not text[position:].strip() else ()


def _tool(value: Any, name: str) -> Tool:
    if not isinstance(value, dict):
        raise RowError("wrong type", f"{name!r} is {kind_of(value)}; write an object")
    inner = value.get("function")
    tool = inner if isinstance(inner, dict) else value
    check_text(require(tool, "name"), f"{name}.name")
    return tool


def _call(value: Any, name: str) -> ToolCall:
    if not isinstance(value, dict):
        raise RowError(
            "wrong type", f"{name!r} is {kind_of(value)}; write an object with name and arguments"
        )
    inner = value.get("function")
    call = inner if isinstance(inner, dict) else value
    arguments = call.get("arguments", call.get("parameters", {}))
    return {
        "name": check_text(require(call, "name"), f"{name}.name"),
        "arguments": check_object(arguments or {}, f"{name}.arguments"),
    }
