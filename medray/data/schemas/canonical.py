"""medray's own rows, as `medray data convert` writes them: the fields of `Record` that are not empty.

`"medray": 1` marks them and counts the layout. In Parquet, `tools`, `extra` and the arguments of calls are JSON texts.
"""

from __future__ import annotations

from typing import Any, cast

from medray.config.data import DataConfig
from medray.data.parsing.fields import (
    Fields,
    check_encodable,
    check_object,
    check_text,
    finite_number,
    kind_of,
    require,
)
from medray.data.parsing.tool_calls import parse_calls, parse_tools
from medray.data.schema import RowSchema, has
from medray.data.source import RowError
from medray.types import Message, Record, Role, Step

VERSION = 1
_TURN_LISTS = ("messages", "chosen", "rejected")
_TEXTS = ("answer", "task", "lang", "source", "licence", "group_id", "text")
_ROLES = ("system", "user", "assistant", "tool")


def record_to_row(record: Record) -> dict[str, Any]:
    """The record as JSON values; what is empty is left out, and `canonical_record` gives it back unchanged."""
    row: dict[str, Any] = {"medray": VERSION, "id": record.id}
    for name in _TURN_LISTS:
        if turns := getattr(record, name):
            row[name] = [_turn_to_row(message) for message in turns]
    for name in _TEXTS:
        if text := getattr(record, name):
            row[name] = text
    if record.options:
        row["options"] = list(record.options)
    if record.steps:
        row["steps"] = [dict(step) for step in record.steps]
    if record.tools:
        row["tools"] = [dict(tool) for tool in record.tools]
    if record.margin:
        row["margin"] = record.margin
    if record.extra:
        row["extra"] = dict(record.extra)
    return row


def canonical_record(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """The record that `record_to_row` wrote."""
    if row.get("medray") != VERSION:
        raise RowError(
            "unknown layout", f"'medray' is {row.get('medray')!r}; this version reads {VERSION}"
        )
    options = row.get("options") or []
    if not isinstance(options, list):
        raise RowError("wrong type", f"'options' is {kind_of(options)}; write a list of texts")
    return Record(
        id=check_encodable(require(row, "id"), "id"),
        messages=_turns(row, "messages"),
        chosen=_turns(row, "chosen"),
        rejected=_turns(row, "rejected"),
        answer=_text(row, "answer"),
        task=_text(row, "task"),
        lang=_text(row, "lang") or "en",
        source=_text(row, "source"),
        licence=_text(row, "licence"),
        group_id=_text(row, "group_id"),
        text=_text(row, "text"),
        options=tuple(check_encodable(text, f"options[{i}]") for i, text in enumerate(options)),
        steps=_steps(row),
        tools=parse_tools(row.get("tools")),
        margin=float(row.get("margin") or 0.0),
        extra=check_object(row.get("extra") or {}, "extra"),
    )


def _text(row: Fields, name: str) -> str:
    return check_encodable(row.get(name) or "", name)


def _turn_to_row(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = dict(message)
    if "tool_calls" in message:
        turn["tool_calls"] = [dict(call) for call in message["tool_calls"]]
    return turn


def _steps(row: Fields) -> tuple[Step, ...]:
    steps: list[Step] = []
    for i, given in enumerate(row.get("steps") or []):
        fields = check_object(given, f"steps[{i}]")
        step: Step = {"content": check_text(require(fields, "content"), f"steps[{i}].content")}
        if fields.get("label") is not None:
            step["label"] = finite_number(fields["label"], f"steps[{i}].label")
        steps.append(step)
    return tuple(steps)


def _turns(row: Fields, name: str) -> tuple[Message, ...]:
    turns = row.get(name) or []
    if not isinstance(turns, list):
        raise RowError("wrong type", f"{name!r} is {kind_of(turns)}; write a list of messages")
    return tuple(
        _turn(check_object(turn, f"{name}[{i}]"), f"{name}[{i}]") for i, turn in enumerate(turns)
    )


def _turn(turn: dict[str, Any], name: str) -> Message:
    role = require(turn, "role")
    if role not in _ROLES:
        raise RowError(
            "unknown role", f"'{name}.role' is {role!r}; write one of {', '.join(_ROLES)}"
        )
    message: Message = {
        "role": cast(Role, role),
        "content": check_encodable(require(turn, "content"), f"{name}.content"),
    }
    if turn.get("tool_calls"):
        message["tool_calls"] = parse_calls(turn["tool_calls"], f"{name}.tool_calls")
    if turn.get("trained") is not None:
        message["trained"] = bool(turn["trained"])
    if turn.get("name"):
        message["name"] = check_text(turn["name"], f"{name}.name")
    return message


SCHEMA = RowSchema(
    name="medray",
    summary="medray's own rows (medray data convert)",
    stages=("pt", "sft", "preference", "kto", "process", "rl"),
    matches=has("medray", "id"),
    parse=canonical_record,
)
