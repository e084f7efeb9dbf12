"""MedQuAD as rows: `{"question", "answer", "focus", "qtype", "source", "url"}`.

Source: Ben Abacha & Demner-Fushman 2019, BMC Bioinformatics 20:511.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import optional_text, require_text, text_or_blank
from medray.data.parsing.language import text_group
from medray.data.parsing.turns import chat
from medray.data.schema import RowSchema, has
from medray.types import Record


def parse_medquad(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One question with its answer. What is asked about one disease or drug (`focus`) is one group.

    The ids of the release repeat, so a row is called after its place.
    """
    question, answer = require_text(row, "question"), require_text(row, "answer")
    return Record(
        id=where,
        messages=chat(user=question, assistant=answer),
        answer=answer,
        task="qa",
        source=f"MedQuAD/{optional_text(row, 'source') or 'unknown'}",
        licence="CC BY 4.0",
        group_id=text_group(text_or_blank(row, "focus") or question),
        extra={"qtype": text_or_blank(row, "qtype"), "url": text_or_blank(row, "url")},
    )


SCHEMA = RowSchema(
    name="medquad",
    summary="consumer health questions with answers of NIH sites",
    stages=("sft", "rl", "pt"),
    matches=lambda row: has("question", "answer", "qtype")(row) and "focus" in row,
    parse=parse_medquad,
)
