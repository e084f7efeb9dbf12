"""OpenAI chats: `{"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}`.

Optional: `tools`; on a message `tool_calls`, `tool_call_id`, `reasoning_content`, and `weight` (0 leaves an
assistant's turn untrained).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.dialogue import parsed_text
from medray.data.parsing.fields import require
from medray.data.parsing.turns import parse_turns
from medray.data.schema import RowSchema
from medray.data.schemas.sharegpt import (
    CHAT_READS,
    chat_record,
    has_turns,
    right_answer,
    system_of,
)
from medray.types import Record


def parse_openai(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """Parse a chat in OpenAI's `messages` layout, tool calls included."""
    turns = parsed_text(require(row, "messages"))
    messages = parse_turns(turns, "messages", system=system_of(row), thinking=config.thinking)
    return replace(chat_record(row, where, messages), answer=right_answer(row))


SCHEMA = RowSchema(
    name="openai",
    summary="chats as messages of role and content, with tools",
    stages=("sft", "rl"),
    matches=lambda row: has_turns(row, "messages"),
    parse=parse_openai,
    reads=CHAT_READS - {"question"},
)
