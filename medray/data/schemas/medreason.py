"""MedReason: `{"question", "answer", "reasoning", "options"}`, a question with the chain of thought to its answer.

Source: Wu et al. 2025, arXiv:2504.00993.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import require_text, text_or_blank
from medray.data.parsing.turns import chat, with_thinking
from medray.data.schema import RowSchema, has
from medray.data.schemas.sharegpt import chat_record
from medray.types import Record


def parse_medreason(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One question, with its options where it has them."""
    question = require_text(row, "question")
    options = text_or_blank(row, "options")
    answer = require_text(row, "answer")
    messages = chat(
        user=f"{question}\n{options}" if options else question,
        assistant=with_thinking(require_text(row, "reasoning"), answer, config.thinking),
    )
    source = text_or_blank(row, "dataset_name") or "unknown"
    return replace(chat_record({}, where, messages), answer=answer, source=f"MedReason/{source}")


SCHEMA = RowSchema(
    name="medreason",
    summary="MedReason: question, reasoning, answer",
    stages=("sft", "rl"),
    matches=has("question", "answer", "reasoning", "dataset_name"),
    parse=parse_medreason,
)
