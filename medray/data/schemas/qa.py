"""Question and reference answer, as MedicalGPT's GRPO data.

A line: `{"question": ..., "answer": ...}`.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.jsonl import optional_text, read_jsonl, require_text
from medray.data.language import language_of, text_group
from medray.data.source import Source
from medray.types import Record


def read_qa(config: DataConfig) -> Source:
    """Records whose answer is free text. Optional keys: `id`, `group`, `lang` ("en" or "zh").

    Rows with the same question share a group, so that a question never stands on both sides of a
    split.
    """
    return read_jsonl(config, parse_qa)


def parse_qa(row: dict[str, Any], where: str) -> Record:
    """One row as a record; `where` is its id when the row has none."""
    question = require_text(row, "question")
    return Record(
        id=optional_text(row, "id") or where,
        messages=({"role": "user", "content": question},),
        answer=require_text(row, "answer"),
        task="qa",
        lang=language_of(row, question),
        source=where,
        group_id=optional_text(row, "group") or text_group(question),
    )
