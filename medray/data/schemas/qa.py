"""Question and reference answer, as MedicalGPT's GRPO data.

A row: `{"question": ..., "answer": ...}`, or `{"问": ..., "答": ...}`.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields, optional_text, require_text
from medray.data.parsing.language import language_of, text_group
from medray.data.schema import RowSchema, has
from medray.types import Record


def parse_qa(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One row as a record whose answer is free text; `where` is its id when the row has none.

    Optional keys: `id`, `group`, `lang` ("en" or "zh"). Rows with the same question share a group,
    so that a question never stands on both sides of a split.
    """
    is_chinese = "问" in row and "question" not in row
    question = require_text(row, "问" if is_chinese else "question")
    return Record(
        id=optional_text(row, "id") or where,
        messages=({"role": "user", "content": question},),
        answer=require_text(row, "答" if is_chinese else "answer"),
        task="qa",
        lang=language_of(row, question),
        source=where,
        group_id=optional_text(row, "group") or text_group(question),
    )


def _matches(row: Fields) -> bool:
    return has("question", "answer")(row) or has("问", "答")(row)


SCHEMA = RowSchema(
    name="qa",
    summary="question and reference answer",
    stages=("rl", "sft"),
    matches=_matches,
    parse=parse_qa,
)
