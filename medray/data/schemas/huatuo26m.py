"""Huatuo-26M: `{"questions": ..., "answers": ...}`, each a text or a (nested) list of texts.

Source: Li et al. 2023, arXiv:2305.01526. Several questions are ways to ask the same: the first is taken, the
others are kept in `extra`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import check_text, require
from medray.data.parsing.turns import chat
from medray.data.schema import RowSchema, has
from medray.data.schemas.sharegpt import chat_record
from medray.data.source import RowError
from medray.types import Record


def parse_huatuo26m(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """The first question with the first answer."""
    questions, answers = (_texts(require(row, key), key) for key in ("questions", "answers"))
    record = chat_record(row, where, chat(user=questions[0], assistant=answers[0]))
    return replace(
        record,
        answer=answers[0],
        extra={"other_questions": questions[1:], "other_answers": answers[1:]},
    )


def _texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list):
        return [check_text(value, name)]
    found = [text for i, item in enumerate(value) for text in _texts(item, f"{name}[{i}]")]
    if not found:
        raise RowError("empty value", f"{name!r} has no text; fill it in or remove the row")
    return found


SCHEMA = RowSchema(
    name="huatuo-26m",
    summary="Huatuo-26M: questions and answers",
    stages=("sft", "rl"),
    matches=has("questions", "answers"),
    parse=parse_huatuo26m,
)
