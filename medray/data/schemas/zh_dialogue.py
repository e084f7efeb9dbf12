"""Chinese-medical-dialogue-data: CSV in GB18030 with the columns `department,title,ask,answer`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import require, require_text, text_or_blank
from medray.data.parsing.turns import chat
from medray.data.schema import RowSchema, has
from medray.data.schemas.sharegpt import chat_record
from medray.data.source import RowError
from medray.types import Record


def parse_zh_dialogue(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One consultation: the title, then what the patient asks, unless one repeats the other."""
    require(row, "ask")
    title, ask = text_or_blank(row, "title"), text_or_blank(row, "ask")
    if not title and not ask:
        raise RowError("empty value", "'title' and 'ask' are blank; fill one in or remove the row")
    question = (title or ask) if not title or not ask or ask == title else f"{title}\n{ask}"
    messages = chat(user=question, assistant=require_text(row, "answer"))
    return replace(
        chat_record(row, where, messages),
        licence="MIT",
        extra={"department": text_or_blank(row, "department")},
    )


SCHEMA = RowSchema(
    name="zh-dialogue",
    summary="Chinese consultations: department, title, ask, answer",
    stages=("sft", "rl"),
    matches=lambda row: has("ask", "answer")(row) and "department" in row,
    parse=parse_zh_dialogue,
)
