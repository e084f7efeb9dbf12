"""Mistral's format from tokenizer v3 on: one JSON list after `[TOOL_CALLS]`."""

from __future__ import annotations

import json
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

_MARK = "[TOOL_CALLS]"


class MistralFormat:
    """Mistral 7B Instruct v0.3 and later."""

    name = "mistral"
    result_role = "tool"
    own_block = True

    def describe(self, tools: Sequence[Tool]) -> str:
        """All tools as one JSON list."""
        return f"[AVAILABLE_TOOLS] {to_json([wrapped(tool) for tool in tools])}[/AVAILABLE_TOOLS]"

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        """All calls as one JSON list."""
        listed = [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
        return f"{_MARK} {to_json(listed)}"

    def write_result(self, content: str) -> str:
        """The result as the `content` of an object: JSON as JSON, text as a string."""
        try:
            value = json.loads(content)
        except ValueError:
            value = content
        return f"[TOOL_RESULTS] {to_json({'content': value})}[/TOOL_RESULTS]"

    def parse(self, text: str) -> ParsedTurn:
        """The list after the mark, or a bare list: decoding may have left the mark out."""
        mark = text.find(_MARK)
        bare = text.lstrip().startswith('[{"name"')
        if mark < 0 and not bare:
            return ParsedTurn(text, ())
        start = mark + len(_MARK) if mark >= 0 else 0
        value = read_json(text, skip_space(text, start))
        listed = value[0] if value else None
        calls = (
            [read_call(item, "arguments") for item in listed] if isinstance(listed, list) else []
        )
        if not calls or None in calls:
            return ParsedTurn(text, (), malformed=True)
        content = text[:mark].removesuffix("\n") if mark >= 0 else ""
        return ParsedTurn(content, tuple(call for call in calls if call))
