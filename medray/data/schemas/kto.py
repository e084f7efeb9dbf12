"""Unpaired preferences: `{"prompt": text or messages, "completion": text or messages, "label": true}`.

Also `{"messages": [...], "label": true}` and `{"conversations": [...], "kto_tag": false}`, where the label is
that of the last answer.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields, require
from medray.data.parsing.tool_calls import parse_tools
from medray.data.parsing.turns import parse_turns
from medray.data.schema import RowSchema
from medray.data.schemas.preference import parse_continuation
from medray.data.schemas.preference_messages import parse_prompt
from medray.data.schemas.sharegpt import chat_record, system_of
from medray.data.source import RowError
from medray.types import Message, Record

_LABELS = {"true": True, "1": True, "false": False, "0": False}
_CHATS = ("messages", "conversations")


def parse_kto(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One prompt with one continuation, desirable or not."""
    prompt, completion = _parts(row, config)
    if not prompt or prompt[-1]["role"] in ("assistant", "system"):
        raise RowError("answered prompt", "the prompt must end with the user's or a tool's turn")
    label = _label(row)
    return chat_record(
        row,
        where,
        prompt,
        task="preference",
        chosen=completion if label else (),
        rejected=() if label else completion,
    )


def _parts(
    row: dict[str, Any], config: DataConfig
) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    if "completion" in row:
        tools = parse_tools(row.get("tools"))
        completion = parse_continuation(
            row["completion"], "completion", tools=tools, thinking=config.thinking
        )
        if "prompt" in row:
            return parse_prompt(row, config), completion
        return _chat(row, config), completion
    turns = _chat(row, config)
    if turns[-1]["role"] != "assistant":
        raise RowError("not an answer", "the last turn must be the assistant's, which is labelled")
    return turns[:-1], turns[-1:]


def _chat(row: dict[str, Any], config: DataConfig) -> tuple[Message, ...]:
    key = next((key for key in _CHATS if key in row), "prompt")
    return parse_turns(require(row, key), key, system=system_of(row), thinking=config.thinking)


def _label(row: dict[str, Any]) -> bool:
    key = "kto_tag" if "kto_tag" in row else "label"
    value = require(row, key)
    label = _LABELS.get(str(value).strip().lower())
    if label is None or isinstance(value, float):
        raise RowError("unknown label", f"{key!r} is {value!r}; write true or false")
    return label


def _matches(row: Fields) -> bool:
    if "kto_tag" in row:
        return any(key in row for key in _CHATS)
    if "label" not in row:
        return False
    return "completion" in row or any(key in row for key in _CHATS)


SCHEMA = RowSchema(
    name="kto",
    summary="prompt, completion and whether it is desirable",
    stages=("kto", "sft", "rl"),
    matches=_matches,
    parse=parse_kto,
)
