"""HuatuoGPT-sft-data-v1: `{"data": ["问：...", "答：...", ...]}`, the patient and the doctor in turn.

Source: Zhang et al. 2023, arXiv:2305.15075.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields, check_text, require_list
from medray.data.schema import RowSchema
from medray.data.schemas.sharegpt import chat_record
from medray.data.source import RowError
from medray.types import Message, Record, Role

_SPEAKERS: dict[str, Role] = {"问": "user", "答": "assistant"}
_TURN = re.compile(r"\s*([问答])\s*[：:]")


def parse_huatuogpt(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One consultation; each text says in its first character who speaks."""
    messages: list[Message] = []
    for i, value in enumerate(require_list(row, "data")):
        text = check_text(value, f"data[{i}]")
        speaker = _TURN.match(text)
        if speaker is None:
            raise RowError("unknown speaker", f"'data[{i}]' must begin with 问： or 答：")
        content = check_text(text[speaker.end() :], f"data[{i}]")
        messages.append({"role": _SPEAKERS[speaker[1]], "content": content})
    return replace(chat_record(row, where, tuple(messages)), licence="Apache-2.0")


def _matches(row: Fields) -> bool:
    turns = row.get("data")
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], str)


SCHEMA = RowSchema(
    name="huatuogpt",
    summary="HuatuoGPT: a list of 问：... and 答：...",
    stages=("sft", "rl"),
    matches=_matches,
    parse=parse_huatuogpt,
)
