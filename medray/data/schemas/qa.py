"""Question and reference answer, as MedicalGPT's GRPO data.

A row: `{"question": ..., "answer": ...}`, or `{"问": ..., "答": ...}`; names without regard to case, and with the
document that is asked about as `context`.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.dialogue import parsed_text
from medray.data.parsing.fields import Fields, check_text, optional_text
from medray.data.parsing.language import language_of, text_group
from medray.data.parsing.roles import by_role, normal
from medray.data.parsing.view import View
from medray.data.schema import RowSchema
from medray.data.schemas.prompt_completion import ASKED
from medray.types import Record

_ANSWERS = ("answer", "longanswer", "答", "答案", "回答")


def parse_qa(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One row as a record whose answer is free text; `where` is its id when the row has none.

    Optional keys: `id`, `group`, `lang` ("en" or "zh"). Rows with the same question share a group,
    so that a question never stands on both sides of a split.
    """
    view = View(row)
    messages = view.prompt(config)
    question = messages[-1]["content"]
    return Record(
        id=optional_text(row, "id") or where,
        messages=messages,
        answer=check_text(view.text("answer"), view.column("answer")),
        task="qa",
        lang=language_of(row, question),
        source=where,
        group_id=optional_text(row, "group") or text_group(question),
    )


def _matches(row: Fields) -> bool:
    roles = by_role(row)
    asked, answers = roles.get("question", []), roles.get("answer", [])
    if len(asked) != 1 or len(answers) != 1 or normal(answers[0]) not in _ANSWERS:
        return False
    is_text = all(isinstance(parsed_text(row[name]), str) for name in (*asked, *answers))
    return is_text and not roles.keys() & {"reasoning", "solution", "truth", "messages"}


SCHEMA = RowSchema(
    name="qa",
    summary="question and reference answer",
    stages=("rl", "sft"),
    matches=_matches,
    parse=parse_qa,
    reads=ASKED | {"answer"},
)
