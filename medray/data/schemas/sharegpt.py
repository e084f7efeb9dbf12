"""ShareGPT chats: `{"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}`.

Optional: a system turn or a `system_prompt` (or `system`) column, `tools`, and turns from `function_call` and
`observation`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.dialogue import parsed_text
from medray.data.parsing.fields import Fields, require, text_or_blank
from medray.data.parsing.grouping import dialogue_group
from medray.data.parsing.language import guess_language
from medray.data.parsing.roles import by_role
from medray.data.parsing.tool_calls import parse_tools
from medray.data.parsing.turns import parse_turns, user_text
from medray.data.parsing.view import View
from medray.data.schema import RowSchema
from medray.types import Message, Record

CHAT_READS = frozenset({"messages", "system", "tools", "question", "truth", "answer"})
"""Roles of a chat; an answer beside its turns is the right one, for a reward."""


def parse_sharegpt(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One chat; a system turn goes before the column."""
    messages = parse_turns(
        parsed_text(require(row, "conversations")),
        "conversations",
        system=system_of(row),
        thinking=config.thinking,
    )
    return replace(chat_record(row, where, messages), answer=right_answer(row))


def right_answer(row: dict[str, Any]) -> str:
    """The right answer that stands beside a chat, for a reward; "" for none."""
    view = View(row)
    return view.text("truth") or view.text("answer")


def system_of(row: dict[str, Any]) -> str:
    """The system prompt that stands in a column of its own; "" for none."""
    return text_or_blank(row, "system_prompt") or text_or_blank(row, "system")


def source_of(row: dict[str, Any], where: str) -> str:
    """The row's own `source` when it is a name, else the file it stands in."""
    source = row.get("source")
    return source if isinstance(source, str) and source else where.rpartition(":")[0]


def has_turns(row: Fields, key: str) -> bool:
    """True for a row whose only chat is a list of turns under `key`, in the two usual forms."""
    roles = by_role(row)
    if row.get(key) is None or roles.get("messages", [key]) != [key]:
        return False
    if roles.keys() & {"question", "rejected", "winner"}:
        return False
    turns = parsed_text(row[key])
    if not isinstance(turns, list):
        return not isinstance(turns, str)
    return all(not isinstance(turn, dict) or turn.keys() & {"from", "role"} for turn in turns)


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

    Chats that begin with the same question are one group.
    """
    said = user_text(messages) or tuple(m["content"] for m in messages)
    return Record(
        id=where,
        messages=messages,
        task=task,
        lang=guess_language(*said),
        source=source_of(row, where),
        group_id=dialogue_group(messages),
        tools=parse_tools(row.get("tools")),
        chosen=chosen,
        rejected=rejected,
        margin=margin,
    )


SCHEMA = RowSchema(
    name="sharegpt",
    summary="chats as conversations of from and value, with tools",
    stages=("sft", "rl"),
    matches=lambda row: has_turns(row, "conversations"),
    parse=parse_sharegpt,
    reads=CHAT_READS - {"question"},
)
