"""Alpaca instructions: `{"instruction": ..., "input": ..., "output": ...}`, with optional `system` and
`history` (a list of [question, answer] pairs)."""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import (
    Fields,
    check_text,
    from_json,
    require,
    require_text,
    text_or_blank,
)
from medray.data.parsing.roles import by_role
from medray.data.parsing.turns import chat
from medray.data.schema import RowSchema, has
from medray.data.schemas.sharegpt import chat_record, system_of
from medray.data.source import RowError
from medray.types import Record

_MORE = {"reasoning", "context", "text"}
"""Roles that the general schema of questions with answers reads, and this one does not."""


def parse_alpaca(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One instruction with its answer; `input` follows the instruction on a line of its own.

    An instruction may be blank when there is an input.
    """
    require(row, "instruction")
    parts = [text_or_blank(row, "instruction"), text_or_blank(row, "input")]
    question = "\n".join(part for part in parts if part)
    messages = chat(
        *parse_history(row.get("history")),
        user=check_text(question, "instruction"),
        assistant=require_text(row, "output"),
        system=system_of(row),
    )
    return chat_record(row, where, messages)


def parse_history(value: Any, name: str = "history") -> list[tuple[str, str]]:
    """Earlier turns as (user, assistant) pairs; null and "" are none."""
    if value is None or value == "":
        return []
    pairs = from_json(value, name)
    if not isinstance(pairs, list):
        raise RowError("wrong type", f"{name!r} must be a list of [question, answer] pairs")
    found: list[tuple[str, str]] = []
    for i, pair in enumerate(pairs):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise RowError("wrong type", f"'{name}[{i}]' must be a [question, answer] pair")
        question, answer = (check_text(text, f"{name}[{i}]") for text in pair)
        found.append((question, answer))
    return found


def _matches(row: Fields) -> bool:
    roles = by_role(row)
    is_one_answer = len(roles.get("question", [])) <= 1 and roles.get("answer", ["output"]) == [
        "output"
    ]
    return has("instruction", "output")(row) and is_one_answer and not roles.keys() & _MORE


SCHEMA = RowSchema(
    name="alpaca",
    summary="instruction, input, output, history",
    stages=("sft", "rl"),
    matches=_matches,
    parse=parse_alpaca,
    reads=frozenset({"question", "input", "answer", "system", "history", "tools"}),
)
