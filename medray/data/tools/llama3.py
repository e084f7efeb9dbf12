"""LLaMA 3.1's JSON format: an object with `name` and `parameters`, and nothing else in the turn."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medray.data.tools.base import (
    ParsedTurn,
    Tool,
    read_call,
    read_json,
    skip_space,
    to_json,
    wrapped,
)
from medray.types import ToolCall

# The models were trained on this text word for word. The two lines of dates before it are left out:
# a prompt that changes every day is no prompt to train on.
_DESCRIPTION = (
    "You have access to the following functions. To call a function, please respond with JSON for a function call."
    ' Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.'
    " Do not use variables.\n\n"
)
_OBJECT = re.compile(r'(?:^|\n)(?=\{\s*"name")')


class Llama3Format:
    """LLaMA 3.1, 3.2, 3.3. The models were trained on one call a turn; several are written one a line."""

    name = "llama3"
    result_role = "tool"
    own_block = False

    def describe(self, tools: Sequence[Tool]) -> str:
        """Indented JSON, a blank line after each tool."""
        return _DESCRIPTION + "\n\n".join(to_json(wrapped(tool), indent=4) for tool in tools)

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        """Write each call as a JSON object with `name` and `parameters`, one per line."""
        return "\n".join(
            to_json({"name": call["name"], "parameters": call["arguments"]}) for call in calls
        )

    def write_result(self, content: str) -> str:
        """Return the result unchanged; the chat template marks it as a tool's."""
        return content

    def parse(self, text: str) -> ParsedTurn:
        """JSON objects from the first line that begins one."""
        first = _OBJECT.search(text)
        if first is None:
            return ParsedTurn(text, ())
        calls: list[ToolCall] = []
        cursor = first.end()
        while cursor < len(text):
            value = read_json(text, cursor)
            call = read_call(value[0], "parameters") if value else None
            if value is None or call is None:
                return ParsedTurn(text, (), malformed=True)
            calls.append(call)
            cursor = skip_space(text, value[1])
        return ParsedTurn(text[: first.start()], tuple(calls))
