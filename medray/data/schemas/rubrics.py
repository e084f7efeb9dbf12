"""Prompts with rubrics for a judge: RaR-Medicine and HealthBench.

RaR (ScaleAI/RaR-Medicine, arXiv:2507.17746): `{"question", "reference_answer", "rubric": [{"title", "description",
"weight"}]}`. HealthBench (arXiv:2505.08775): `{"prompt_id", "prompt": messages, "rubrics": [{"criterion", "points",
"tags"}]}`; it is for evaluation only, so its rows are always held out.

Both end as `extra["rubric"]`: a list of `{"criterion", "points", "tags"}`, where negative points are for what
must not happen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import (
    check_object,
    check_text,
    from_json,
    kind_of,
    require,
    require_text,
)
from medray.data.parsing.language import guess_language, text_group
from medray.data.parsing.turns import chat, parse_turns
from medray.data.schema import EVALUATION_ONLY, RowSchema, has
from medray.data.schemas.sharegpt import chat_record
from medray.data.source import RowError
from medray.types import Record


def parse_rar(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One question with a reference answer and a weighted rubric."""
    question = require_text(row, "question")
    rubric = [
        {
            "criterion": check_text(require(item, "description"), f"{name}.description"),
            "points": _points(require(item, "weight"), f"{name}.weight"),
            "tags": [check_text(item["title"], f"{name}.title")] if item.get("title") else [],
        }
        for name, item in _items(row, "rubric")
    ]
    return Record(
        id=where,
        messages=chat(user=question),
        answer=require_text(row, "reference_answer"),
        task="rubric",
        lang=guess_language(question),
        source=f"RaR/{row.get('question_source') or 'unknown'}",
        group_id=text_group(question),
        extra={"rubric": rubric},
    )


def parse_healthbench(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One conversation with a physicians' rubric."""
    rubric = [
        {
            "criterion": check_text(require(item, "criterion"), f"{name}.criterion"),
            "points": _points(require(item, "points"), f"{name}.points"),
            "tags": [str(tag) for tag in item.get("tags") or ()],
        }
        for name, item in _items(row, "rubrics")
    ]
    record = chat_record({}, where, parse_turns(require(row, "prompt"), "prompt"), task="rubric")
    return replace(
        record,
        id=require_text(row, "prompt_id"),
        source="HealthBench",
        licence="MIT",
        extra={
            "rubric": rubric,
            "tags": [str(tag) for tag in row.get("example_tags") or ()],
            EVALUATION_ONLY: True,
        },
    )


def _items(row: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    items = from_json(require(row, key), key)
    if not isinstance(items, list) or not items:
        shown = "empty" if isinstance(items, list) else kind_of(items)
        raise RowError("bad rubric", f"{key!r} is {shown}; write a list of criteria")
    return [(f"{key}[{i}]", check_object(item, f"{key}[{i}]")) for i, item in enumerate(items)]


def _points(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RowError("bad rubric", f"{name!r} is {kind_of(value)}; write a number")
    return float(value)


RAR = RowSchema(
    name="rar",
    summary="RaR: question, reference answer, weighted rubric",
    stages=("rl", "sft"),
    matches=has("question", "reference_answer", "rubric"),
    parse=parse_rar,
)
HEALTHBENCH = RowSchema(
    name="healthbench",
    summary="HealthBench: conversations with physicians' rubrics; held out always",
    stages=("rl",),
    matches=has("prompt_id", "prompt", "rubrics"),
    parse=parse_healthbench,
)
