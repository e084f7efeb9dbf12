"""Chats under any of the usual names and forms.

`{"conversation": [{"human", "assistant"}]}`, `{"dialogue": "Patient: ... Doctor: ..."}`, `{"utterances":
["patient: ...", "doctor: ..."]}`, `{"turns": [{"speaker", "text"}]}`, and a
`text` that is a dialogue with a model (`### Human: ...`,
`<|im_start|>user`, `[INST]`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields
from medray.data.parsing.roles import by_role
from medray.data.parsing.transcript import parse_transcript
from medray.data.parsing.view import View
from medray.data.schema import RowSchema
from medray.data.schemas.sharegpt import CHAT_READS, chat_record, right_answer
from medray.types import Record


def parse_chat(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """Parse a chat in any common layout into a prompt with an optional reference answer."""
    view = View(row)
    messages = view.prompt(config)
    return replace(chat_record(row, where, messages), answer=right_answer(row))


def parse_transcript_row(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One chat that is a single text."""
    view = View(row)
    return chat_record(row, where, parse_transcript(view.text("text"), view.column("text")))


def _is_transcript(row: Fields) -> bool:
    roles = by_role(row)
    text = row[roles["text"][0]] if "text" in roles and len(roles["text"]) == 1 else None
    return isinstance(text, str) and bool(parse_transcript(text, "text", people=False))


SCHEMA = RowSchema(
    name="dialogue",
    summary="chats as conversation, dialogue, turns, utterances: turns, pairs, texts in turn or one text",
    stages=("sft", "rl"),
    matches=lambda row: "messages" in by_role(row),
    parse=parse_chat,
    reads=CHAT_READS,
)
TRANSCRIPT = RowSchema(
    name="transcript",
    summary="a text that is a dialogue with a model: Human: ... Assistant: ..., chat markup",
    stages=("sft", "rl"),
    matches=_is_transcript,
    parse=parse_transcript_row,
    reads=frozenset({"text"}),
)
