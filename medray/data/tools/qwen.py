"""Qwen's format, also known as Hermes: JSON between `<tool_call>` tags."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from medray.data.tools.base import ParsedTurn, Tool, read_call, to_json, wrapped
from medray.types import ToolCall

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)

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
        """One tagged block a call."""
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
        first = text.find("<tool_call>")
        if first < 0:
            return ParsedTurn(text, ())
        calls: list[ToolCall] = []
        for block in _CALL.finditer(text, first):
            call = _read(block[1])
            if call is None:
                return ParsedTurn(text, (), malformed=True)
            calls.append(call)
        if not calls:
            return ParsedTurn(text, (), malformed=True)
        return ParsedTurn(text[:first].removesuffix("\n"), tuple(calls))


def _read(block: str) -> ToolCall | None:
    try:
        return read_call(json.loads(block), "arguments")
    except ValueError:
        return None
