"""Chains of thought within messages: inline between tags, in fields of their own, in parts of a content."""

from __future__ import annotations

import re
from typing import Any

from medray.data.parsing.fields import check_text, kind_of
from medray.data.parsing.roles import is_blank, role_of
from medray.data.source import RowError

OPEN, CLOSE = "<think>", "</think>"
_LEADING = re.compile(r"\s*<think>(.*?)</think>", re.DOTALL)
_PARTS = ("thinking", "reasoning", "thought")


def split_thought(content: str) -> tuple[str, str]:
    """The thought that leads a text, and what follows it; ("", content) for a text without one.

    A thought may lack its opening tag, as a model writes it after a prompt that ends with the tag.
    """
    found = _LEADING.match(content)
    if found is not None:
        thought, answer = found[1], content[found.end() :]
    elif OPEN not in content.partition(CLOSE)[0] and CLOSE in content:
        thought, _, answer = content.partition(CLOSE)
    else:
        return "", content
    return thought.strip(), answer.lstrip("\n") if thought.strip() else answer


def split_parts(content: Any, name: str) -> tuple[str, Any]:
    """The thought among the parts of a content (`{"type": "thinking", "thinking": ...}`), and the other parts.

    Raises:
        RowError: such a part is not text.
    """
    if not isinstance(content, list):
        return "", content
    thoughts: list[str] = []
    rest: list[Any] = []
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _PARTS:
            thoughts.append(_text_of(part.get(kind, part.get("text")), f"{name}[{i}].{kind}"))
        else:
            rest.append(part)
    return "\n\n".join(text for text in thoughts if text), rest


def reasoning_of(turn: dict[str, Any], name: str) -> str:
    """The thought that stands in a field of its own (`reasoning_content`, `reasoning`, `thinking`); "" for none.

    Raises:
        RowError: it is not text, or two fields hold different ones.
    """
    found: dict[str, str] = {}
    for key, value in turn.items():
        if role_of(key) == "reasoning" and not is_blank(value):
            found.setdefault(_text_of(value, f"{name}.{key}").strip(), key)
    found.pop("", None)
    if len(found) > 1:
        keys = " and ".join(repr(key) for key in found.values())
        raise RowError("two thoughts", f"{name!r} has different thoughts in {keys}; keep one")
    return next(iter(found), "")


def joined_thought(reasoning: str, content: str, name: str) -> tuple[str, str]:
    """One thought and what follows it, where a thought stands beside a content that may hold it as well.

    Raises:
        RowError: the content begins with another thought.
    """
    inline, answer = split_thought(content)
    if not inline:
        return reasoning, content
    if " ".join(inline.split()) != " ".join(reasoning.split()):
        raise RowError(
            "two thoughts", f"{name!r} has one thought in its text and another in a field; keep one"
        )
    return reasoning, answer


def _text_of(value: Any, name: str) -> str:
    if isinstance(value, list):
        texts: list[Any] = [part.get("text") if isinstance(part, dict) else part for part in value]
        if all(isinstance(text, str) for text in texts):
            return "".join(texts)
    if not isinstance(value, str):
        raise RowError("wrong type", f"{name!r} is {kind_of(value)}; write text")
    return check_text(value, name) if value.strip() else ""
