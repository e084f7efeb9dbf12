"""Math-Shepherd: a question and its solution in one text, every step ended by a tag, and the same text with + or - for
the tags: `{"input": "2+2? Step 1: It is 5. ки", "label": "2+2? Step 1: It is 5. -", "task": "GSM8K"}`.

Source: arXiv:2312.08935.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields, check_text, require_text
from medray.data.parsing.turns import chat
from medray.data.schema import RowSchema
from medray.data.schemas.steps import labelled_step, solution_record, step_label
from medray.data.source import RowError
from medray.types import Record, Step

TAG = "ки"
"""Ends every step in `input`."""
_FIRST = "Step 1:"


def parse_tagged(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """The question before the first step, and the steps with the labels that stand in the place of their tags."""
    text, labelled = require_text(row, "input"), require_text(row, "label")
    *parts, rest = text.split(TAG)
    if rest.strip():
        raise RowError("untagged step", f"'input' goes on after its last {TAG}; end it with one")
    steps: list[Step] = []
    cursor = 0
    for number, part in enumerate(parts, start=1):
        cursor += len(part)
        if not labelled.startswith(part, cursor - len(part)):
            raise RowError("texts differ", f"'label' is not 'input' up to the tag of step {number}")
        label = step_label(labelled[cursor : cursor + 1], f"label of step {number}")
        steps.append(labelled_step(part, label))
        cursor += 1
    question, _, first = steps[0]["content"].partition(_FIRST)
    steps[0] = {**steps[0], "content": _FIRST + first}
    steps = [
        {**s, "content": check_text(s["content"], f"step {i + 1}")} for i, s in enumerate(steps)
    ]
    prompt = chat(user=check_text(question, "the question before the first step"))
    return solution_record(row, where, prompt, steps)


def _matches(row: Fields) -> bool:
    text, label = row.get("input"), row.get("label")
    return isinstance(text, str) and isinstance(label, str) and TAG in text and _FIRST in text


SCHEMA = RowSchema(
    name="math-shepherd",
    summary="steps ended by a tag, with + or - for each (Math-Shepherd)",
    stages=("process", "rl"),
    matches=_matches,
    parse=parse_tagged,
)
