"""OpenAI chats: `{"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}`.

Optional: `tools`; on a message `tool_calls`, `tool_call_id`, `reasoning_content`, and `weight` (0 leaves an
assistant's turn untrained).
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import require
from medray.data.parsing.turns import parse_turns
from medray.data.schema import RowSchema, has
from medray.data.schemas.sharegpt import chat_record, system_of
from medray.types import Record


def parse_openai(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One chat."""
    messages = parse_turns(
        require(row, "messages"), "messages", system=system_of(row), thinking=config.thinking
    )
    return chat_record(row, where, messages)


SCHEMA = RowSchema(
    name="openai",
    summary="chats as messages of role and content, with tools",
    stages=("sft", "rl"),
    matches=has("messages"),
    parse=parse_openai,
)
