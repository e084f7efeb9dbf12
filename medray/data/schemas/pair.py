"""A prompt with a preferred and a rejected answer under any of the usual names.

`{"system", "question", "chosen", "rejected"}`, LLaMA-Factory's `{"instruction", "input", "chosen", "rejected"}`,
`{"messages", "chosen", "rejected"}`, `{"messages", "rejected_response"}` (ms-swift: the last turn is preferred), and
hh-rlhf's two dialogues in one text each. Named as `data.kind`, it also reads `{"instruction", "output": [preferred,
rejected]}`.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.dialogue import parse_dialogue, parsed_text
from medray.data.parsing.fields import Fields, check_text
from medray.data.parsing.roles import by_role
from medray.data.parsing.tool_calls import parse_tools
from medray.data.parsing.transcript import parse_transcript
from medray.data.parsing.view import View
from medray.data.schema import RowSchema
from medray.data.schemas.preference import PAIR_READS, pair_record, parse_continuation
from medray.data.schemas.preference_messages import check_prompt, common_beginning
from medray.data.source import RowError
from medray.types import Message, Record


def parse_pair(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One prompt with a better and a worse continuation."""
    view = View(row)
    prompt: tuple[Message, ...] = ()
    if "question" in view or "input" in view or "messages" in view:
        prompt = view.prompt(config)
    both = parsed_text(view.value("answer")) if "rejected" not in view else None
    if (
        isinstance(both, list) and len(both) == 2
    ):  # LLaMA-Factory's `ranking`: the first is preferred
        chosen, rejected = (parse_continuation(text, view.column("answer")) for text in both)
    elif "chosen" in view:
        chosen, rejected = (_side(view, role, row, config) for role in ("chosen", "rejected"))
        prompt = _unanswered(prompt, chosen)
    else:
        rejected = _side(view, "rejected", row, config)
        prompt, chosen = prompt[:-1], prompt[-1:]
        if not chosen or chosen[0]["role"] != "assistant":
            raise RowError(
                "not an answer", "the last turn must be the assistant's, the preferred one"
            )
    if shared := common_beginning(chosen, rejected):
        check_prompt(prompt, shared)
        prompt = shared if len(shared) >= len(prompt) else prompt
        chosen, rejected = chosen[len(shared) :], rejected[len(shared) :]
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if not side or not side[0]["role"] == side[-1]["role"] == "assistant":
            raise RowError(
                "not an answer", f"{name!r} must begin and end with the assistant's turn"
            )
    return pair_record(row, where, prompt, chosen, rejected)


def _side(view: View, role: str, row: dict[str, Any], config: DataConfig) -> tuple[Message, ...]:
    """One side: an answer, or a whole dialogue where it begins with the user."""
    name, value = view.column(role), parsed_text(view.value(role))
    if isinstance(value, str):
        if turns := parse_transcript(value, name, people=False):
            return turns
        tools = parse_tools(row.get("tools"))
        return parse_continuation(check_text(value, name), name, tools=tools)
    turns = [value] if isinstance(value, dict) else value
    return parse_dialogue(turns, name, thinking=config.thinking)


def _unanswered(prompt: tuple[Message, ...], chosen: tuple[Message, ...]) -> tuple[Message, ...]:
    """The prompt without the preferred answer, where the turns hold it as well."""
    if prompt and prompt[-1]["role"] == "assistant":
        if prompt[-1:] != chosen[-1:]:
            raise RowError(
                "answered prompt",
                "the turns end with an answer that is not the preferred one; remove it",
            )
        return prompt[:-1]
    return prompt


def _matches(row: Fields) -> bool:
    roles = by_role(row)
    return "rejected" in roles and ("chosen" in roles or "messages" in roles)


SCHEMA = RowSchema(
    name="pair",
    summary="a prompt (text, instruction and input, messages) with chosen and rejected; hh-rlhf's dialogues",
    stages=("preference", "kto", "sft", "rl"),
    matches=_matches,
    parse=parse_pair,
    reads=PAIR_READS | {"answer"},
)
