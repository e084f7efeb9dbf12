"""Qwen's format, also known as Hermes: JSON between `<tool_call>` tags."""

from __future__ import annotations

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

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"

# The models were trained on this text word for word.
_DESCRIPTION = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


class QwenFormat:
    """Qwen2.5, Qwen3 and Hermes models."""

    name = "qwen"
    result_role = "user"
    own_block = False

    def describe(self, tools: Sequence[Tool]) -> str:
        """One JSON line a tool, between `<tools>` tags."""
        return _DESCRIPTION.format(tools="\n".join(to_json(wrapped(tool)) for tool in tools))

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        """Write each call as JSON between <tool_call> tags."""
        return "\n".join(
            "<tool_call>\n"
            + to_json({"name": call["name"], "arguments": call["arguments"]})
            + "\n</tool_call>"
            for call in calls
        )

    def write_result(self, content: str) -> str:
        """The result between `<tool_response>` tags."""
        return f"<tool_response>\n{content}\n</tool_response>"

    def parse(self, text: str) -> ParsedTurn:
        """All tagged blocks; what stands before the first is content."""
        first = text.find(_OPEN)
        if first < 0:
            return ParsedTurn(text, ())
        calls: list[ToolCall] = []
        cursor = first
        while cursor >= 0:
            value = read_json(text, skip_space(text, cursor + len(_OPEN)))
            call = read_call(value[0], "arguments") if value else None
            if value is None or call is None:
                return ParsedTurn(text, (), malformed=True)
            close = skip_space(text, value[1])
            if not text.startswith(_CLOSE, close):
                return ParsedTurn(text, (), malformed=True)
            calls.append(call)
            cursor = text.find(_OPEN, close)
        return ParsedTurn(text[:first].removesuffix("\n"), tuple(calls))
