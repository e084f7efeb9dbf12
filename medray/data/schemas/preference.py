"""MedicalGPT's preferences: `{"conversations": [...], "chosen": ..., "rejected": ...}`.

`chosen` and `rejected` are texts, single turns or lists of turns. With `tools`, a text that is nothing but
ReAct actions (`Action: NAME`, `Action Input: JSON`) on those tools is read as the calls it stands for.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import check_text, finite_number, require
from medray.data.parsing.roles import by_role
from medray.data.parsing.tool_calls import parse_react, parse_tools
from medray.data.parsing.turns import Thinking, parse_turns
from medray.data.schema import RowSchema, has
from medray.data.schemas.sharegpt import chat_record, system_of
from medray.data.source import RowError
from medray.types import Message, Record, Tool

PAIR_READS = frozenset(
    {"question", "input", "context", "text", "system", "history", "messages", "tools", "chosen", "rejected", "margin",
     "score_chosen", "score_rejected"}
)  # fmt: skip
"""Roles that a pair is made of."""


def parse_preference(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One prompt with a better and a worse continuation."""
    prompt = parse_turns(
        require(row, "conversations"),
        "conversations",
        system=system_of(row),
        thinking=config.thinking,
    )
    tools = parse_tools(row.get("tools"))
    chosen, rejected = (
        parse_continuation(require(row, key), key, tools=tools, thinking=config.thinking)
        for key in ("chosen", "rejected")
    )
    return pair_record(row, where, prompt, chosen, rejected)


def pair_record(
    row: dict[str, Any],
    where: str,
    prompt: tuple[Message, ...],
    chosen: tuple[Message, ...],
    rejected: tuple[Message, ...],
) -> Record:
    """A prompt with its two continuations, and by how much the row rates the better one higher.

    Raises:
        RowError: the pair states no preference, or its prompt is answered already.
    """
    check_pair(prompt, chosen, rejected)
    return chat_record(
        row, where, prompt, task="preference", chosen=chosen, rejected=rejected, margin=margin_of(row)
    )  # fmt: skip


def parse_continuation(
    value: Any, name: str, *, tools: tuple[Tool, ...] = (), thinking: Thinking = "tags"
) -> tuple[Message, ...]:
    """What follows a prompt, from a text, one turn or a list of turns; it begins with the assistant."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list):
        turns = parse_turns(value, name, thinking=thinking)
        if turns[0]["role"] != "assistant" or turns[-1]["role"] != "assistant":
            raise RowError(
                "not an answer", f"{name!r} must begin and end with the assistant's turn"
            )
        return turns
    text = check_text(value, name)
    calls = parse_react(text, [str(tool["name"]) for tool in tools]) if tools else ()
    if calls:
        return ({"role": "assistant", "content": "", "tool_calls": calls},)
    return ({"role": "assistant", "content": text},)


def check_pair(
    prompt: tuple[Message, ...], chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> None:
    """Refuse a pair that states no preference, or a prompt that the assistant has answered."""
    if chosen == rejected:
        raise RowError(
            "no preference",
            "'chosen' and 'rejected' are the same; make them differ or remove the row",
        )
    if not prompt or prompt[-1]["role"] in ("assistant", "system"):
        raise RowError("answered prompt", "the prompt must end with the user's or a tool's turn")


def margin_of(row: dict[str, Any]) -> float:
    """By how much `chosen` was rated better: `margin`, or `score_chosen` minus `score_rejected`; 0 when absent."""
    columns = {role: names[0] for role, names in by_role(row).items()}
    if name := columns.get("margin"):
        margin = finite_number(row[name], name)
    elif "score_chosen" in columns and "score_rejected" in columns:
        one, other = (columns[role] for role in ("score_chosen", "score_rejected"))
        margin = finite_number(row[one], one) - finite_number(row[other], other)
    else:
        return 0.0
    if margin < 0:
        raise RowError("scores disagree", "'rejected' is scored above 'chosen'; swap them")
    return margin


SCHEMA = RowSchema(
    name="preference",
    summary="conversations with a chosen and a rejected answer (MedicalGPT, LLaMA-Factory)",
    stages=("preference", "kto", "sft", "rl"),
    matches=has("conversations", "chosen", "rejected"),
    parse=parse_preference,
    reads=PAIR_READS - {"question", "input", "context", "text", "history"},
)
