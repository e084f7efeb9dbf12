"""The default format: `Action:` and `Action Input:` lines (ReAct, arXiv:2210.03629), for any model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from medray.data.tools.base import ParsedTurn, Tool, function_of, read_json, to_json
from medray.types import ToolCall

_ACTION = re.compile(r"(?:^|\n)Action:[ \t]*(\S+)[ \t]*\nAction Input:\s*")


class ReactFormat:
    """Calls as pairs of lines; results as `Observation:`."""

    name = "default"
    result_role = "user"
    own_block = False

    def describe(self, tools: Sequence[Tool]) -> str:
        """A list of tools with their arguments, then how to call one."""
        functions = [function_of(tool) for tool in tools]
        names = ", ".join(str(function["name"]) for function in functions)
        return (
            "You can use these tools:\n\n"
            + "\n".join(_describe(function) for function in functions)
            + "\nTo use one, write two lines and stop:\n"
            f"Action: the tool's name, one of {names}\n"
            "Action Input: its arguments as one JSON object"
        )

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        """Write each call as an `Action:` line and an `Action Input:` line."""
        return "\n".join(
            f"Action: {call['name']}\nAction Input: {to_json(call['arguments'])}" for call in calls
        )

    def write_result(self, content: str) -> str:
        """The result after `Observation:`."""
        return f"Observation: {content}"

    def parse(self, text: str) -> ParsedTurn:
        """Calls from the first `Action:` line on."""
        found = list(_ACTION.finditer(text))
        calls: list[ToolCall] = []
        for match in found:
            value = read_json(text, match.end())
            if value is None or not isinstance(value[0], dict):
                return ParsedTurn(text, (), malformed=True)
            calls.append({"name": match[1], "arguments": value[0]})
        if not calls:
            return ParsedTurn(text, ())
        return ParsedTurn(text[: found[0].start()], tuple(calls))


def _describe(function: Tool) -> str:
    parameters: Any = function.get("parameters") or {}
    properties: Any = parameters.get("properties") or {}
    required = parameters.get("required") or ()
    lines = [f"- {function['name']}: {function.get('description', '')}".rstrip(": ")]
    lines += [_parameter(name, spec, name in required) for name, spec in properties.items()]
    return "\n".join(lines) + "\n"


def _parameter(name: str, spec: Any, required: bool) -> str:
    spec = spec if isinstance(spec, Mapping) else {}
    kind = str(spec.get("type", "any")) + (", required" if required else "")
    told = [str(spec["description"])] if spec.get("description") else []
    if spec.get("enum"):
        told.append(f"one of {', '.join(map(str, spec['enum']))}")
    return f"  - {name} ({kind}): {'; '.join(told)}".rstrip(": ")
