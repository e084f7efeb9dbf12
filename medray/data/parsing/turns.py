"""Chats in the forms people keep them, as canonical messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

from medray.data.parsing.fields import check_encodable, check_text, from_json, kind_of, require
from medray.data.parsing.roles import MEANING, is_blank, role_of
from medray.data.parsing.thoughts import joined_thought, reasoning_of, split_parts
from medray.data.parsing.tool_calls import parse_calls
from medray.data.source import RowError
from medray.types import Message, ToolCall

Kind = Literal["system", "user", "assistant", "tool", "call"]
ROLES: dict[str, Kind] = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "call",
    "tool_call": "call",
    "observation": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool": "tool",
    "tool_response": "tool",
}
"""Every name a role goes by. A "call" is an assistant turn whose text is the JSON of a function call."""
_TRAINED_KEYS = ("trained", "weight", "train", "training", "loss")

Thinking = Literal["tags", "headings", "none"]


def parse_turns(
    turns: Any, name: str, *, system: str = "", thinking: Thinking = "tags"
) -> tuple[Message, ...]:
    """A list of turns as messages, whether `{"from", "value"}` or `{"role", "content"}`.

    Consecutive function calls are one assistant message with several calls, as is an assistant's text
    followed by a call.

    Args:
        turns: the list, from JSON.
        name: the field that held it, for the errors.
        system: put first when no turn is a system message; "" for none.
        thinking: where a thought beside a turn's content goes (`reasoning_content`, `reasoning`, `thinking`, parts).

    Raises:
        RowError: a role is unknown, a turn is empty or misplaced, or a call cannot be read.
    """
    if not isinstance(turns, list):
        raise RowError("wrong type", f"{name!r} is {kind_of(turns)}; write a list of turns")
    messages: list[Message] = []
    call_names: dict[str, str] = {}
    for i, turn in enumerate(turns):
        message = _message(turn, f"{name}[{i}]", call_names, thinking)
        if message["role"] == "system" and i > 0:
            raise RowError(
                "misplaced system turn", f"'{name}[{i}]' is a system turn; move it to the front"
            )
        if _continues(messages, message):
            messages[-1]["tool_calls"] = (
                *messages[-1].get("tool_calls", ()),
                *message.get("tool_calls", ()),
            )
        else:
            messages.append(message)
    if not any(m["role"] != "system" for m in messages):
        raise RowError("empty value", f"{name!r} has no turn; fill it in or remove the row")
    if system and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    return tuple(messages)


def chat(
    *pairs: tuple[str, str], user: str = "", assistant: str = "", system: str = ""
) -> tuple[Message, ...]:
    """Messages from texts: a system message, earlier (user, assistant) pairs, the last two turns; "" is left out."""
    messages: list[Message] = [{"role": "system", "content": system}]
    for question, answer in (*pairs, (user, assistant)):
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return tuple(message for message in messages if message["content"])


def with_thinking(reasoning: str, answer: str, style: Thinking) -> str:
    """An answer with the chain of thought that led to it, in one of the styles of `data.thinking`."""
    if not reasoning or style == "none":
        return answer
    if style == "headings":
        return f"## Thinking\n\n{reasoning}\n\n## Final Response\n\n{answer}"
    return f"<think>\n{reasoning}\n</think>\n\n{answer}"


def user_text(messages: Iterable[Message]) -> tuple[str, ...]:
    """What the user says, turn by turn: what makes two chats the same question."""
    return tuple(m["content"] for m in messages if m["role"] == "user")


def _message(turn: Any, name: str, call_names: dict[str, str], thinking: Thinking) -> Message:
    if not isinstance(turn, dict):
        raise RowError("wrong type", f"{name!r} is {kind_of(turn)}; write an object with a role")
    role_key = "from" if "from" in turn else "role"
    content_key = "value" if "value" in turn else "content"
    given = check_text(require(turn, role_key), f"{name}.{role_key}")
    kind = ROLES.get(given.lower())
    if kind is None:
        known = "system, user, assistant, tool (or human, gpt, function_call, observation)"
        raise RowError("unknown role", f"'{name}.{role_key}' is {given!r}; write one of {known}")
    _refuse_media(turn, name)
    raw = (
        turn.get(content_key)
        if turn.get("tool_calls") or turn.get("function_call")
        else require(turn, content_key)
    )
    field = f"{name}.{content_key}"
    if kind == "call":
        thought = with_thinking(reasoning_of(turn, name), "", thinking)
        return _assistant(thought, parse_calls(raw, field), turn, name)
    thought, raw = split_parts(raw, field) if kind == "assistant" else ("", raw)
    content = _content(raw, field)
    if kind == "tool":
        return _tool_result(content, turn, call_names)
    if kind == "assistant":
        if thought:
            turn = {**turn, "reasoning": thought}
        return _answer(content, turn, name, field, call_names, thinking)
    if kind == "system" and not content:
        return {"role": "system", "content": ""}  # says that the template's own is left out
    return {"role": kind, "content": check_text(content, field)}


def _refuse_media(turn: dict[str, Any], name: str) -> None:
    """Refuse a turn with images or sound, of which only the text would be trained."""
    for key, value in turn.items():
        if role_of(key) == "media" and not is_blank(value):
            raise RowError("unread field", f"'{name}.{key}' is {MEANING['media']}; remove the row")


def _answer(
    content: str,
    turn: dict[str, Any],
    name: str,
    field: str,
    call_names: dict[str, str],
    thinking: Thinking,
) -> Message:
    calls: tuple[ToolCall, ...] = ()
    given = from_json(turn.get("tool_calls"), f"{name}.tool_calls") or turn.get("function_call")
    if given:
        calls = parse_calls(given, f"{name}.tool_calls")
        for call, one in zip(calls, cast(Sequence[Any], given), strict=False):
            if isinstance(one, dict) and isinstance(one.get("id"), str):
                call_names[one["id"]] = call["name"]
    if not calls:
        content = check_text(content, field)
    if reasoning := reasoning_of(turn, name):
        content = with_thinking(*joined_thought(reasoning, content, name), thinking)
    return _assistant(content, calls, turn, name)


def _assistant(
    content: str, calls: tuple[ToolCall, ...], turn: dict[str, Any], name: str
) -> Message:
    message: Message = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = calls
    for key in _TRAINED_KEYS:
        value = turn.get(key)
        if value is None:
            continue
        if value not in (0, 1):
            raise RowError("wrong type", f"'{name}.{key}' is {value!r}; write true or false")
        if not value:
            message["trained"] = False
    return message


def _tool_result(content: str, turn: dict[str, Any], call_names: dict[str, str]) -> Message:
    message: Message = {"role": "tool", "content": content}
    caller = turn.get("name") or call_names.get(str(turn.get("tool_call_id")))
    if isinstance(caller, str) and caller:
        message["name"] = caller
    return message


def _content(value: Any, name: str) -> str:
    """Text, stripped; parts of text joined; an object (as tools return) as JSON; null as nothing."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "".join(_part(part, f"{name}[{i}]") for i, part in enumerate(value)).strip()
    return check_encodable(value, name).strip()


def _part(part: Any, name: str) -> str:
    if isinstance(part, str):
        return check_encodable(part, name)
    if isinstance(part, dict) and part.get("type", "text") == "text":
        return check_encodable(part.get("text"), f"{name}.text")
    shown = part.get("type") if isinstance(part, dict) else kind_of(part)
    raise RowError("not text", f"{name!r} is a part of type {shown!r}; only text can be trained on")


def _continues(messages: list[Message], message: Message) -> bool:
    """True for a bare call after an assistant's turn that is trained alike."""
    if not messages or messages[-1]["role"] != "assistant" or message["role"] != "assistant":
        return False
    is_bare_call = not message["content"] and "tool_calls" in message
    return is_bare_call and messages[-1].get("trained") == message.get("trained")
