"""Question with two answers, as in shibing624/medical `reward` and DPO-En-Zh:
`{"question": ..., "response_chosen": ..., "response_rejected": ...}`, with optional `system` and `history`."""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import require, require_text
from medray.data.parsing.turns import chat
from medray.data.schema import RowSchema, has
from medray.data.schemas.alpaca import parse_history
from medray.data.schemas.preference import PAIR_READS, pair_record, parse_continuation
from medray.data.schemas.sharegpt import system_of
from medray.types import Record


def parse_response_pair(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One question with a better and a worse answer."""
    prompt = chat(
        *parse_history(row.get("history")),
        user=require_text(row, "question"),
        system=system_of(row),
    )
    chosen, rejected = (
        parse_continuation(require(row, key), key, thinking=config.thinking)
        for key in ("response_chosen", "response_rejected")
    )
    return pair_record(row, where, prompt, chosen, rejected)


SCHEMA = RowSchema(
    name="response-pair",
    summary="question, response_chosen, response_rejected (shibing624/medical reward)",
    stages=("preference", "kto", "sft", "rl"),
    matches=has("question", "response_chosen", "response_rejected"),
    parse=parse_response_pair,
    reads=PAIR_READS - {"input", "context", "text", "messages"},
)
