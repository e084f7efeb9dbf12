"""CMB (arXiv:2308.08833) and CMExam (arXiv:2306.03030): Chinese licensing exams and clinical cases.

- CMB-Exam: `{"exam_type", "exam_class", "exam_subject", "question", "answer": "ABD", "question_type", "option":
  {"A": ..., ...}}`; blank options are left out.
- CMB-Clin: `{"id", "title", "description", "QA_pairs": [{"question", "solution"}]}`.
- CMExam: CSV with `Question,Options,Answer,Explanation,...`, the options as lines `A ...`, `B ...`, or as a list of
  `{"key", "value"}`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import (
    check_object,
    check_text,
    from_json,
    require,
    require_list,
    require_text,
    text_or_blank,
)
from medray.data.parsing.language import prompt_language, text_group
from medray.data.parsing.turns import chat
from medray.data.schema import RowSchema, has
from medray.data.schemas.choice import (
    arranged_choice,
    check_options,
    right_indices,
    shuffle_seed_of,
)
from medray.data.schemas.sharegpt import chat_record
from medray.types import Record

_OPTION_LINE = re.compile(r"^\s*([A-Z])[\s.．、:：)）]+(.+?)\s*$", re.MULTILINE)


def parse_cmb(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """An exam item with one right option or several."""
    options = check_object(require(row, "option"), "option")
    named = {key: text for key, text in options.items() if not _is_blank(text)}
    record = _item(row, where, config, "question", named, "answer")
    subject = text_or_blank(row, "exam_subject") or text_or_blank(row, "exam_type")
    return replace(record, source=f"CMB/{subject or 'unknown'}")


def parse_cmexam(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """An exam item with its explanation."""
    given = require(row, "Options")
    options: dict[str, Any]
    if isinstance(given, str) and not given.lstrip().startswith("["):
        options = dict(_OPTION_LINE.findall(given))
    else:
        listed = [
            check_object(item, f"Options[{i}]")
            for i, item in enumerate(from_json(given, "Options") or [])
        ]
        options = {require_text(item, "key"): require(item, "value") for item in listed}
    record = _item(row, where, config, "Question", options, "Answer")
    return replace(
        record, source="CMExam", extra={"explanation": text_or_blank(row, "Explanation")}
    )


def parse_cmb_clin(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """A case with its questions in turn; the case is the group."""
    description = require_text(row, "description")
    pairs: list[tuple[str, str]] = []
    for i, pair in enumerate(require_list(row, "QA_pairs")):
        texts = check_object(pair, f"QA_pairs[{i}]")
        question, solution = (
            check_text(require(texts, key), f"QA_pairs[{i}].{key}")
            for key in ("question", "solution")
        )
        pairs.append((question if i else f"{description}\n\n{question}", solution))
    record = chat_record({}, where, chat(*pairs))
    return replace(
        record,
        source="CMB-Clin",
        licence="Apache-2.0",
        group_id=text_group(description),
        extra={"title": text_or_blank(row, "title")},
    )


def _item(
    row: dict[str, Any],
    where: str,
    config: DataConfig,
    question_key: str,
    options: dict[str, Any],
    answer_key: str,
) -> Record:
    texts = check_options(options)
    question = require_text(row, question_key)
    return arranged_choice(
        question,
        texts,
        right_indices(require_text(row, answer_key), texts),
        id=where,
        lang=prompt_language(question),
        licence="Apache-2.0",
        shuffle_seed=shuffle_seed_of(config),
    )


def _is_blank(text: Any) -> bool:
    return text is None or (isinstance(text, str) and not text.strip())


CMB = RowSchema(
    name="cmb",
    summary="CMB-Exam: question, option by letter, answer letters",
    stages=("rl", "sft"),
    matches=has("question", "option", "answer"),
    parse=parse_cmb,
)
CMB_CLIN = RowSchema(
    name="cmb-clin",
    summary="CMB-Clin: a case and questions about it",
    stages=("sft", "rl"),
    matches=has("description", "QA_pairs"),
    parse=parse_cmb_clin,
)
CMEXAM = RowSchema(
    name="cmexam",
    summary="CMExam: Question, Options, Answer, Explanation",
    stages=("rl", "sft"),
    matches=has("Question", "Options", "Answer", "Explanation"),
    parse=parse_cmexam,
)
