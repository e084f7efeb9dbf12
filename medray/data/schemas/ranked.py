"""Several answers to one prompt, rated or ranked: the best and the worst are a pair, ties are left out.

Nectar's `{"prompt", "answers": [{"answer", "rank"}]}`, UltraFeedback's `{"instruction", "completions": [{"response",
"overall_score"}]}`, HelpSteer's `{"prompt", "response_1", "response_2", "preference_strength"}`, arenas'
`{"conversation_a", "conversation_b", "winner"}`,
PKU-SafeRLHF's `better_response_id`, SHP's `labels`, WebGPT's `score_0` and `score_1`.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.dialogue import parse_dialogue, parsed_text
from medray.data.parsing.fields import Fields, check_text
from medray.data.parsing.ranking import numbered_columns, rank
from medray.data.parsing.roles import by_role
from medray.data.parsing.transcript import parse_transcript
from medray.data.parsing.view import View, joined
from medray.data.schema import RowSchema
from medray.data.schemas.preference import check_pair, parse_continuation
from medray.data.schemas.preference_messages import common_beginning
from medray.data.schemas.prompt_completion import ASKED
from medray.data.schemas.sharegpt import chat_record
from medray.types import Message, Record


def parse_ranked(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One prompt with the best and the worst of its answers."""
    ranked = rank(row)
    chosen, rejected = _answer(ranked.best, "best", config), _answer(ranked.worst, "worst", config)
    prompt = common_beginning(chosen, rejected)
    if prompt:
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    else:
        prompt = View(row).prompt(config)
    check_pair(prompt, chosen, rejected)
    return chat_record(
        row, where, prompt, task="preference", chosen=chosen, rejected=rejected, margin=ranked.margin
    )  # fmt: skip


def _answer(value: Any, name: str, config: DataConfig) -> tuple[Message, ...]:
    """An answer, or the dialogue that ends with it."""
    value = parsed_text(value)
    if isinstance(value, list) and any(isinstance(turn, dict) for turn in value):
        return parse_dialogue(value, name, thinking=config.thinking)
    text = check_text(joined(value, name), name)
    return parse_transcript(text, name, people=False) or parse_continuation(text, name)


def _matches(row: Fields) -> bool:
    roles = by_role(row)
    if "key" in roles or "options" in roles:
        return False
    has_list = "answers" in roles and isinstance(parsed_text(row[roles["answers"][0]]), list)
    return has_list or bool(numbered_columns(row))


SCHEMA = RowSchema(
    name="ranked",
    summary="several answers with scores, ranks or a winner (Nectar, UltraFeedback, HelpSteer, arenas): a pair",
    stages=("preference", "kto", "sft", "rl"),
    matches=_matches,
    parse=parse_ranked,
    reads=ASKED | {"messages", "answers", "scores", "winner", "label", "tools"},
)
