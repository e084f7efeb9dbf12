"""ShareGPT chats: `{"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}`.

Optional: a system turn or a `system_prompt` (or `system`) column, `tools`, and turns from `function_call` and
`observation`.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import require, text_or_blank
from medray.data.parsing.language import guess_language, text_group
from medray.data.parsing.tool_calls import parse_tools
from medray.data.parsing.turns import parse_turns, user_text
from medray.data.schema import RowSchema, has
from medray.types import Message, Record


def parse_sharegpt(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One chat; a system turn goes before the column."""
    messages = parse_turns(
        require(row, "conversations"),
        "conversations",
        system=system_of(row),
        thinking=config.thinking,
    )
    return chat_record(row, where, messages)


def system_of(row: dict[str, Any]) -> str:
    """The system prompt that stands in a column of its own; "" for none."""
    return text_or_blank(row, "system_prompt") or text_or_blank(row, "system")


def source_of(row: dict[str, Any], where: str) -> str:
    """The row's own `source` when it is a name, else the file it stands in."""
    source = row.get("source")
    return source if isinstance(source, str) and source else where.rpartition(":")[0]


def chat_record(
    row: dict[str, Any],
    where: str,
    messages: tuple[Message, ...],
    *,
    task: str = "chat",
    chosen: tuple[Message, ...] = (),
    rejected: tuple[Message, ...] = (),
    margin: float = 0.0,
) -> Record:
    """A record of a chat with the columns that every chat schema shares: `tools`, `source`.

    Chats in which the user says the same are one group.
    """
    said = user_text(messages) or tuple(m["content"] for m in messages)
    return Record(
        id=where,
        messages=messages,
        task=task,
        lang=guess_language(*said),
        source=source_of(row, where),
        group_id=text_group(*said),
        tools=parse_tools(row.get("tools")),
        chosen=chosen,
        rejected=rejected,
        margin=margin,
    )


SCHEMA = RowSchema(
    name="sharegpt",
    summary="chats as conversations of from and value, with tools",
    stages=("sft", "rl"),
    matches=has("conversations"),
    parse=parse_sharegpt,
)
