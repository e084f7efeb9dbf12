"""Chats in the many forms that general datasets give them, as canonical messages."""

from __future__ import annotations

import ast
import json
from typing import Any, cast

from medray.data.parsing.fields import check_text, kind_of
from medray.data.parsing.roles import normal
from medray.data.parsing.transcript import parse_transcript
from medray.data.parsing.turns import Thinking, parse_turns
from medray.data.source import RowError
from medray.types import Message

_SPEAKER_KEYS = ("role", "from", "speaker", "author", "sender")
_SAID_KEYS = ("content", "value", "text", "message", "utterance", "body")
_PAIR_KEYS = (
    ("human", "assistant"), ("user", "assistant"), ("user", "bot"), ("input", "output"), ("question", "answer"),
    ("prompt", "response"), ("query", "response"), ("instruction", "output"), ("patient", "doctor"), ("问", "答"),
)  # fmt: skip
_NAMES = {
    "prompter": "user", "patient": "user", "client": "user", "患者": "user", "病人": "user", "用户": "user",
    "问": "user", "doctor": "assistant", "ai": "assistant", "physician": "assistant", "医生": "assistant",
    "助手": "assistant", "答": "assistant",
}  # fmt: skip
"""Speakers beside those of `turns.ROLES`."""


def parse_dialogue(
    value: Any, name: str, *, system: str = "", thinking: Thinking = "tags"
) -> tuple[Message, ...]:
    """A chat as messages.

    It may be turns under any of the usual keys (`role` and `content`, `from` and `value`, `speaker` and `text`), one
    object or list for each question with its answer, texts in turn that may name their speakers, one text with speakers
    in it, or the JSON or Python text of any of these.

    Args:
        value: the field.
        name: what it is called, for errors.
        system: put first when no turn is a system message; "" for none.
        thinking: where a thought beside a turn's content goes.

    Raises:
        RowError: it is none of these, or a turn cannot be read.
    """
    value = parsed_text(value)
    if isinstance(value, str):
        return _with_system(_transcript(value, name), system)
    if not isinstance(value, list):
        raise RowError("wrong type", f"{name!r} is {kind_of(value)}; write a list of turns")
    if value and all(isinstance(turn, str) for turn in value):
        return _with_system(_texts(cast("list[str]", value), name), system)
    turns: list[Any] = []
    for i, turn in enumerate(value):
        turns += _turns_of(turn, f"{name}[{i}]")
    return parse_turns(turns, name, system=system, thinking=thinking)


def parsed_text(value: Any) -> Any:
    """What a text that looks like a JSON (or, as pandas writes it, a Python) list or object stands for."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        found = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return found if isinstance(found, list | dict) else value


def _turns_of(turn: Any, name: str) -> list[Any]:
    """One item of a list as turns of `role` and `content`; unchanged where it is not an object of a known form."""
    if isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn):
        return [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
    if not isinstance(turn, dict):
        return [turn]
    keys = {normal(key): key for key in turn}
    speaker = next((keys[key] for key in _SPEAKER_KEYS if key in keys), None)
    if speaker is None:
        for asked, answered in _PAIR_KEYS:
            if asked in keys and answered in keys:
                return _pair(turn, keys, asked, answered)
        return [turn]
    said = next((keys[key] for key in _SAID_KEYS if key in keys), None)
    kept = {key: value for key, value in turn.items() if key not in (speaker, said)}
    role = turn[speaker]
    kept["role"] = _NAMES.get(role.strip().lower(), role) if isinstance(role, str) else role
    if said is not None:
        kept["content"] = turn[said]
    return [kept]


def _pair(turn: dict[str, Any], keys: dict[str, str], asked: str, answered: str) -> list[Any]:
    found = [
        {"role": "user", "content": turn[keys[asked]]},
        {"role": "assistant", "content": turn[keys[answered]]},
    ]
    system = turn.get(keys.get("system", ""))
    return [{"role": "system", "content": system}, *found] if system else found


def _transcript(text: str, name: str) -> tuple[Message, ...]:
    turns = parse_transcript(check_text(text, name), name)
    if not turns:
        raise RowError(
            "no speakers", f"{name!r} is one text that does not say who speaks; write a list of turns"
        )  # fmt: skip
    return turns


def _texts(texts: list[str], name: str) -> tuple[Message, ...]:
    """Texts in turn: as their speakers say, or the user and the assistant alternately."""
    joined = parse_transcript("\n".join(texts), name)
    if len(joined) == len(texts):
        return joined
    return tuple(
        {"role": "assistant" if i % 2 else "user", "content": check_text(text, f"{name}[{i}]")}
        for i, text in enumerate(texts)
    )


def _with_system(turns: tuple[Message, ...], system: str) -> tuple[Message, ...]:
    if not system or turns[0]["role"] == "system":
        return turns
    return ({"role": "system", "content": system}, *turns)
