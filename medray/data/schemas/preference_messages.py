"""Preferences as whole message lists, as in UltraMedical-Preference and TRL:
`{"prompt": ..., "chosen": [{"role", "content"}, ...], "rejected": [...]}`.

Without a `prompt` that is a list, the prompt is what both lists begin with. `chosen` and `rejected` may also be
texts beside a `prompt`.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields, require, require_text
from medray.data.parsing.roles import by_role
from medray.data.parsing.transcript import parse_transcript
from medray.data.parsing.turns import chat, parse_turns, user_text
from medray.data.schema import RowSchema, has
from medray.data.schemas.preference import PAIR_READS, pair_record, parse_continuation
from medray.data.schemas.sharegpt import system_of
from medray.data.source import RowError
from medray.types import Message, Record

_MORE = {"messages", "input", "context", "text", "history"}
"""Roles that make a prompt of more than `prompt`, which the general schema of pairs reads."""


def parse_preference_messages(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One prompt with a better and a worse continuation."""
    chosen, rejected = (
        parse_turns(row[key], key, thinking=config.thinking)
        if isinstance(require(row, key), list)
        else parse_continuation(row[key], key, thinking=config.thinking)
        for key in ("chosen", "rejected")
    )
    prompt = common_beginning(chosen, rejected)
    if prompt:
        if "prompt" in row:
            check_prompt(parse_prompt(row, config), prompt)
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
        if (system := system_of(row)) and prompt[0]["role"] != "system":
            prompt = (*chat(system=system), *prompt)
    else:
        prompt = parse_prompt(row, config)
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if side and not side[0]["role"] == side[-1]["role"] == "assistant":
            raise RowError(
                "prompts differ",
                f"{name!r} has no assistant answer where the two lists differ first;"
                " give both the same prompt",
            )
    return pair_record(row, where, prompt, chosen, rejected)


def parse_prompt(row: dict[str, Any], config: DataConfig) -> tuple[Message, ...]:
    """The `prompt` of a row: a text, a dialogue in one text, or a list of turns."""
    prompt = require(row, "prompt")
    if isinstance(prompt, list):
        return parse_turns(prompt, "prompt", system=system_of(row), thinking=config.thinking)
    text, system = require_text(row, "prompt"), system_of(row)
    if turns := parse_transcript(text, "prompt", people=False):
        return (*chat(system=system), *turns)
    return chat(user=text, system=system)


def check_prompt(given: tuple[Message, ...], shared: tuple[Message, ...]) -> None:
    """Refuse a prompt that is not part of what both answers begin with: one of the two is of another row."""
    said = user_text(shared)
    if given and not set(user_text(given)) <= {*said, "\n".join(said), "\n\n".join(said)}:
        raise RowError(
            "prompts differ",
            "the prompt is not part of the dialogue that 'chosen' and 'rejected' start with; correct one",
        )


def common_beginning(
    chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> tuple[Message, ...]:
    """The turns both lists begin with, up to where the assistant takes over; () when it begins them."""
    num_equal = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        num_equal += 1
    shared = chosen[:num_equal]
    while shared and shared[-1]["role"] == "assistant":
        shared = shared[:-1]
    return () if shared and shared[0]["role"] == "assistant" else shared


def _matches(row: Fields) -> bool:
    if not has("chosen", "rejected")(row) or by_role(row).keys() & _MORE:
        return False
    if isinstance(row["chosen"], list):
        return by_role(row).get("question", ["prompt"]) == ["prompt"]
    is_transcript = bool(parse_transcript(str(row["chosen"]), "chosen", people=False))
    return "prompt" in row and not is_transcript


SCHEMA = RowSchema(
    name="preference-messages",
    summary="chosen and rejected as message lists, or texts with a prompt (UltraMedical-Preference)",
    stages=("preference", "kto", "sft", "rl"),
    matches=_matches,
    parse=parse_preference_messages,
    reads=PAIR_READS - {"input", "context", "text", "history", "messages"},
)
