"""GLM-4's format, also ChatGLM3's: the function's name on a line, its arguments as JSON on the next."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medray.data.tools.base import ParsedTurn, Tool, function_of, read_json, to_json
from medray.types import ToolCall

# The models were trained on this text word for word.
_DESCRIPTION = (
    "你是一个名为 ChatGLM 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 模型开发的，"
    "你的任务是针对用户的问题和要求提供适当的答复和支持。\n\n# 可用工具"
)
_TOOL = "\n\n## {name}\n\n{body}\n在调用上述函数时，请使用 Json 格式表示调用的参数。"
_CALL = re.compile(r"(?:^|\n)([A-Za-z_][\w.-]*)[ \t]*\n(?=\{)")


class Glm4Format:
    """GLM-4 and ChatGLM3. The models were trained on one call a turn; several follow one another."""

    name = "glm4"
    result_role = "tool"
    own_block = False

    def describe(self, tools: Sequence[Tool]) -> str:
        """A heading and indented JSON a tool."""
        functions = [function_of(tool) for tool in tools]
        listed = (_TOOL.format(name=f["name"], body=to_json(dict(f), indent=4)) for f in functions)
        return _DESCRIPTION + "".join(listed)

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        """Name and arguments on two lines."""
        return "\n".join(f"{call['name']}\n{to_json(call['arguments'])}" for call in calls)

    def write_result(self, content: str) -> str:
        """Return the result unchanged; the chat template marks it as a tool's."""
        return content

    def parse(self, text: str) -> ParsedTurn:
        """Calls from the first line that is a name followed by a line that begins an object."""
        first = _CALL.search(text)
        if first is None:
            return ParsedTurn(text, ())
        calls: list[ToolCall] = []
        match: re.Match[str] | None = first
        while match is not None:
            value = read_json(text, match.end())
            if value is None or not isinstance(value[0], dict):
                return ParsedTurn(text, (), malformed=True)
            calls.append({"name": match[1], "arguments": value[0]})
            rest = value[1]
            match = _CALL.match(text, rest)
            if match is None and text[rest:].strip():
                return ParsedTurn(text, (), malformed=True)
        return ParsedTurn(text[: first.start()], tuple(calls))
