"""MedQA-USMLE in its two releases, MedBullets, MMLU and MedXpertQA: one question, options, one right letter.

- MedQA, MedBullets: `{"question", "options": {"A": ..., ...}, "answer": text, "answer_idx": "B"}`
  (Jin et al. 2020, arXiv:2009.13081). Four and five options are different exams: never mix them in one score.
- MedQA 4 options on the hub: `{"sent1", "ending0", ..., "ending3", "label"}`.
- MMLU: `{"question", "choices": [...], "answer": index}` (Hendrycks et al. 2020, arXiv:2009.03300).
- MedXpertQA: `{"question", "options", "label": "E"}` (Zuo et al. 2025, arXiv:2501.18362).
"""

from __future__ import annotations

import re
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields, optional_text, require, require_text, text_or_blank
from medray.data.parsing.language import prompt_language
from medray.data.schema import RowSchema, has
from medray.data.schemas.choice import (
    arranged_choice,
    check_options,
    right_indices,
    shuffle_seed_of,
)
from medray.types import Record

_REPEATED_OPTIONS = re.compile(r"\s*\n\s*Answer Choices:.*", re.DOTALL)


def parse_medqa(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """An item of MedQA or MedBullets; the letter decides, not the answer's text."""
    return _item(row, where, config, answer_key="answer_idx", source="MedQA")


def parse_medqa_hub(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """An item of the four-option release on the hub."""
    endings = [require_text(row, f"ending{i}") for i in range(4)]
    question = " ".join(
        part for part in (require_text(row, "sent1"), text_or_blank(row, "sent2")) if part
    )
    inner = {"question": question, "options": endings, "label": require(row, "label")}
    return _item(inner, where, config, answer_key="label", source="MedQA")


def parse_mmlu(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """Parse an MMLU item (`question`, `choices`, `answer`, `subject`)."""
    source = f"MMLU/{optional_text(row, 'subject') or 'unknown'}"
    return _item(row, where, config, options_key="choices", answer_key="answer", source=source)


def parse_medxpertqa(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """An item of MedXpertQA, without the options that its question repeats."""
    question = _REPEATED_OPTIONS.sub("", require_text(row, "question"))
    return _item(
        {**row, "question": question}, where, config, answer_key="label", source="MedXpertQA"
    )


def _item(
    row: Fields,
    where: str,
    config: DataConfig,
    *,
    answer_key: str,
    source: str,
    options_key: str = "options",
) -> Record:
    question = require_text(row, "question")
    options = check_options(require(row, options_key))
    return arranged_choice(
        question,
        options,
        right_indices(require(row, answer_key), options),
        id=where,
        lang=prompt_language(question),
        source=source,
        licence="MIT",
        shuffle_seed=shuffle_seed_of(config),
    )


MEDQA = RowSchema(
    name="medqa",
    summary="MedQA, MedBullets: question, options by letter, answer_idx",
    stages=("rl", "sft"),
    matches=has("question", "options", "answer_idx"),
    parse=parse_medqa,
)
MEDQA_HUB = RowSchema(
    name="medqa-hub",
    summary="MedQA with 4 options on the hub: sent1, ending0..3, label",
    stages=("rl", "sft"),
    matches=has("sent1", "ending0", "ending3", "label"),
    parse=parse_medqa_hub,
)
MMLU = RowSchema(
    name="mmlu",
    summary="MMLU: question, choices, answer as index",
    stages=("rl", "sft"),
    matches=has("question", "choices", "answer", "subject"),
    parse=parse_mmlu,
)
MEDXPERTQA = RowSchema(
    name="medxpertqa",
    summary="MedXpertQA: question, options, label",
    stages=("rl", "sft"),
    matches=lambda row: has("question", "options", "label")(row) and "answer" not in row,
    parse=parse_medxpertqa,
)
