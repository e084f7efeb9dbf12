"""UltraMedical (TsinghuaC3I/UltraMedical): `{"id", "type", "conversations", "answer", "score"}`.

Source: Zhang et al. 2024, arXiv:2406.03949. An exam item's options stand as lettered lines at the end of its
question.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import optional_text, text_or_blank
from medray.data.schema import RowSchema, has
from medray.data.schemas.choice import LETTERS
from medray.data.schemas.sharegpt import parse_sharegpt
from medray.types import Record

_OPTIONS = re.compile(r"(?:\n+[A-Z][.)] [^\n]+){2,}\s*$")
_OPTION = re.compile(r"\n+([A-Z])[.)] ([^\n]+)")


def parse_ultramedical(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One chat; an exam item also gets its letter as the answer and its options."""
    record = parse_sharegpt(row, where, config)
    answer = text_or_blank(row, "answer")
    options = exam_options(record.messages[-2]["content"] if len(record.messages) > 1 else "")
    is_exam = len(answer) == 1 and answer in LETTERS[: len(options)]
    return replace(
        record,
        answer=answer,
        options=options if is_exam else (),
        task="choice" if is_exam else "chat",
        source=f"UltraMedical/{optional_text(row, 'type') or 'unknown'}",
        licence="MIT",
        extra={"origin": optional_text(row, "id") or where},
    )


def exam_options(question: str) -> tuple[str, ...]:
    """The options that stand as lines `A. ...`, `B. ...` at the end of a question; () when they are not in turn."""
    block = _OPTIONS.search(question)
    found = _OPTION.findall(block[0]) if block else []
    letters = "".join(letter for letter, _ in found)
    return tuple(text.strip() for _, text in found) if letters == LETTERS[: len(found)] else ()


SCHEMA = RowSchema(
    name="ultramedical",
    summary="UltraMedical chats; exam items with letter and options",
    stages=("sft", "rl"),
    matches=has("conversations", "type", "score"),
    parse=parse_ultramedical,
)
