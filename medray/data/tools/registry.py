"""Tool formats by name, and reading calls back from text."""

from __future__ import annotations

from medray.data.tools.base import ParsedTurn, ToolFormat
from medray.data.tools.glm4 import Glm4Format
from medray.data.tools.llama3 import Llama3Format
from medray.data.tools.mistral import MistralFormat
from medray.data.tools.qwen import QwenFormat
from medray.data.tools.react import ReactFormat
from medray.errors import ConfigError

NATIVE = "native"
"""The template's own way, by its `tools` variable and the messages' `tool_calls`."""

TOOL_FORMATS: dict[str, ToolFormat] = {
    form.name: form
    for form in (ReactFormat(), Glm4Format(), Llama3Format(), MistralFormat(), QwenFormat())
}


def get_tool_format(name: str) -> ToolFormat:
    """The format called `name`; `native` is none of these.

    Raises:
        ConfigError: there is none.
    """
    if name not in TOOL_FORMATS:
        raise ConfigError(
            f"tool_format={name} is unknown: use one of {NATIVE}, {', '.join(TOOL_FORMATS)}"
        )
    return TOOL_FORMATS[name]


def parse_tool_calls(text: str, tool_format: str) -> ParsedTurn:
    """What an assistant's turn says, and the calls it makes.

    `native` takes the first format whose calls the text holds: what a template writes natively is one of these.
    """
    if tool_format != NATIVE:
        return get_tool_format(tool_format).parse(text)
    turns = [TOOL_FORMATS[name].parse(text) for name in ("qwen", "mistral", "llama3", "glm4")]
    return next((t for t in turns if t.calls), next((t for t in turns if t.malformed), turns[0]))
