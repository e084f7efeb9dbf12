"""Rows of any file as dialogues to be answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medray.config.generate import PromptConfig
from medray.errors import DataError

KEYS = ("messages", "prompt", "question", "instruction")
ROLES = ("system", "user", "assistant", "tool")


def dialogue(row: Mapping[str, Any], config: PromptConfig) -> list[dict[str, Any]]:
    """The messages that a row asks an answer to; they end with the user's or a tool's turn.

    Raises:
        DataError: the row has no prompt, or one that cannot be answered.
    """
    key = config.key or next((k for k in KEYS if row.get(k)), None)
    if key is None or not row.get(key):
        wanted = config.key or ", ".join(KEYS)
        raise DataError(f"no prompt: the row has none of {wanted}")
    value = row[key]
    if isinstance(value, str):
        extra = row.get("input") if key == "instruction" else None
        messages = [{"role": "user", "content": f"{value}\n{extra}" if extra else value}]
    else:
        messages = _checked(value, key)
    if config.drop_answer and messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    if not messages or messages[-1]["role"] not in ("user", "tool"):
        raise DataError(
            f"{key} ends with an assistant turn: set prompts.drop_answer=true to generate it again"
        )
    if config.system is not None:
        rest = [m for m in messages if m["role"] != "system"]
        messages = [{"role": "system", "content": config.system}, *rest]
    return messages


def _checked(value: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise DataError(f"{key} is neither text nor a list of messages")
    messages: list[dict[str, Any]] = []
    for i, message in enumerate(value):
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            raise DataError(f"{key}[{i}] is not a message with a role of {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            raise DataError(f"{key}[{i}].content is not text")
        messages.append({str(k): v for k, v in message.items() if v is not None})
    if not messages:
        raise DataError(f"{key} is empty")
    return messages
