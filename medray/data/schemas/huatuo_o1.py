"""HuatuoGPT-o1's two sets, whose field names have blanks.

medical-o1-reasoning-SFT: `{"Question", "Complex_CoT", "Response"}`;
medical-o1-verifiable-problem: `{"Open-ended Verifiable Question", "Ground-True Answer"}`.

Source: Chen et al. 2024, arXiv:2412.18925.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import require_text
from medray.data.parsing.turns import chat, with_thinking
from medray.data.schema import RowSchema, has
from medray.data.schemas.sharegpt import chat_record
from medray.types import Record

PROBLEM, TRUTH = "Open-ended Verifiable Question", "Ground-True Answer"
LICENCE = "Apache-2.0"


def parse_huatuo_o1_sft(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One question with a chain of thought and a response, joined as `data.thinking` says."""
    answer = with_thinking(
        require_text(row, "Complex_CoT"), require_text(row, "Response"), config.thinking
    )
    messages = chat(user=require_text(row, "Question"), assistant=answer)
    return replace(chat_record({}, where, messages), licence=LICENCE)


def parse_huatuo_o1_verifiable(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One open question with a short reference answer for a verifier."""
    record = chat_record({}, where, chat(user=require_text(row, PROBLEM)), task="verifiable")
    return replace(record, answer=require_text(row, TRUTH), licence=LICENCE)


SFT = RowSchema(
    name="huatuo-o1-sft",
    summary="HuatuoGPT-o1: question, chain of thought, response",
    stages=("sft", "rl"),
    matches=has("Question", "Complex_CoT", "Response"),
    parse=parse_huatuo_o1_sft,
)
VERIFIABLE = RowSchema(
    name="huatuo-o1-verifiable",
    summary="HuatuoGPT-o1: open question with a reference answer",
    stages=("rl", "sft"),
    matches=has(PROBLEM, TRUTH),
    parse=parse_huatuo_o1_verifiable,
)
