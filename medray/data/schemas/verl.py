"""verl's rows, as MTMedDialog has them: `{"data_source", "prompt", "reward_model": {"ground_truth"}, "extra_info",
"response"}`.

Source: Feng et al. 2025, arXiv:2505.19630 (MTMedDialog).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import check_object, optional_text, require, text_or_blank
from medray.data.parsing.language import text_group
from medray.data.parsing.turns import chat
from medray.data.schema import RowSchema, has
from medray.data.schemas.preference_messages import parse_prompt
from medray.data.schemas.sharegpt import chat_record
from medray.types import Record


def parse_verl(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One prompt with its ground truth, and the response where there is one.

    A ground truth of several fields is a case (a patient's diagnosis and advice): its rows are one group. `extra_info`
    is kept for rewards in verl's form.
    """
    prompt = parse_prompt(row, config)
    truth = check_object(require(row, "reward_model"), "reward_model").get("ground_truth")
    record = chat_record({}, where, (*prompt, *chat(assistant=text_or_blank(row, "response"))))
    answer = truth if isinstance(truth, str) else json.dumps(truth, ensure_ascii=False)
    is_case = isinstance(truth, dict)
    info = row.get("extra_info")
    extra: dict[str, object] = {"ground_truth": truth} if is_case else {}
    if isinstance(info, dict) and info:
        extra["extra_info"] = info
    return replace(
        record,
        answer=answer if truth is not None else "",
        task=optional_text(row, "data_source") or "verl",
        group_id=text_group(answer) if is_case else record.group_id,
        extra=extra,
    )


SCHEMA = RowSchema(
    name="verl",
    summary="verl: prompt, reward_model.ground_truth, response (MTMedDialog)",
    stages=("rl", "sft"),
    matches=has("data_source", "prompt", "reward_model"),
    parse=parse_verl,
)
