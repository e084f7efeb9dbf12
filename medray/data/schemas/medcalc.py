"""MedCalc-Bench: a patient note, a question that a medical calculator answers, and the right value.

CSV or JSON with the columns `Patient Note`, `Question`, `Ground Truth Answer`, `Lower Limit`, `Upper Limit`,
`Calculator ID`, `Calculator Name`, `Category`, `Output Type`, `Note ID`, `Relevant Entities`, `Ground Truth
Explanation`. Source: Khandekar et al. 2024, arXiv:2406.12036.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields, kind_of, require, require_text
from medray.data.parsing.language import text_group
from medray.data.parsing.turns import chat
from medray.data.schema import RowSchema, has
from medray.data.source import RowError
from medray.types import Record

_EXTRA = {
    "lower_limit": "Lower Limit",
    "upper_limit": "Upper Limit",
    "calculator_id": "Calculator ID",
    "calculator": "Calculator Name",
    "category": "Category",
    "output_type": "Output Type",
    "entities": "Relevant Entities",
    "explanation": "Ground Truth Explanation",
}


def parse_medcalc(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One item; all questions on one note are one group.

    `answer` and the limits in `extra` are texts as the release has them: numbers, or dates and spans of time.
    """
    note, question = require_text(row, "Patient Note"), require_text(row, "Question")
    return Record(
        id=where,
        messages=chat(user=f"Patient note:\n{note}\n\nQuestion: {question}"),
        answer=_scalar(require(row, "Ground Truth Answer"), "Ground Truth Answer"),
        task="medcalc",
        source="MedCalc-Bench",
        licence="CC BY-SA 4.0",
        group_id=text_group(str(row.get("Note ID") or note)),
        extra={name: _shown(row, column) for name, column in _EXTRA.items()},
    )


def _shown(row: Fields, column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()


def _scalar(value: Any, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise RowError("wrong type", f"{name!r} is {kind_of(value)}; write a number or text")
    if not (text := str(value).strip()):
        raise RowError("empty value", f"{name!r} is blank; fill it in or remove the row")
    return text


SCHEMA = RowSchema(
    name="medcalc",
    summary="MedCalc-Bench: patient note, question, value with limits",
    stages=("rl", "sft"),
    matches=has("Patient Note", "Question", "Ground Truth Answer"),
    parse=parse_medcalc,
)
