"""A question with its answer under any of the usual names, and prompts without one.

`{"Prompt", "Completion"}`, `{"query", "response"}`, `{"input", "output"}`, `{"question", "reasoning", "response"}`,
`{"context", "question", "response"}`, TRL's `{"prompt": [...], "completion": [...]}` and `{"prompt"}` alone. Names are
compared without case (`parsing/roles.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.dialogue import parsed_text
from medray.data.parsing.fields import Fields, check_text
from medray.data.parsing.roles import by_role
from medray.data.parsing.tool_calls import parse_tools
from medray.data.parsing.turns import with_thinking
from medray.data.parsing.view import View, joined
from medray.data.schema import RowSchema
from medray.data.schemas.preference import parse_continuation
from medray.data.schemas.sharegpt import chat_record
from medray.data.source import RowError
from medray.types import Message, Record

ASKED = frozenset({"question", "input", "context", "text", "system", "history"})
"""Roles that a prompt is made of."""
_ANSWERED = {"answer", "solution", "chosen", "rejected", "answers", "messages"}


def parse_prompt_completion(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One prompt with its completion; of a worked solution and a short answer, one is trained and one is the truth."""
    view = View(row)
    role = "solution" if "solution" in view else "answer"
    prompt = view.prompt(config)
    if prompt[-1]["role"] in ("assistant", "system"):
        raise RowError("answered prompt", "the prompt must end with the user's or a tool's turn")
    completion = answer_turns(view, role, row, config)
    truth = view.text("truth") or (view.text("answer") if role == "solution" else "")
    return replace(chat_record(row, where, (*prompt, *completion)), answer=truth)


def parse_prompt_only(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One prompt, with the right answer where there is one."""
    view = View(row)
    prompt = view.prompt(config)
    if prompt[-1]["role"] in ("assistant", "system"):
        raise RowError("answered prompt", "the prompt must end with the user's or a tool's turn")
    return replace(chat_record(row, where, prompt), answer=view.text("truth"))


def answer_turns(
    view: View, role: str, row: dict[str, Any], config: DataConfig
) -> tuple[Message, ...]:
    """The field of `role` as the assistant's turns, its chain of thought where `config.thinking` says."""
    name, value = view.column(role), parsed_text(view.value(role))
    if isinstance(value, list | dict) and not isinstance(value, str):
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            if len(value) > 1:
                raise RowError("several answers", f"{name!r} holds {len(value)} answers; keep one")
            value = check_text(value[0], name)
        else:
            return parse_continuation(value, name, thinking=config.thinking)
    turns = parse_continuation(
        check_text(joined(value, name), name),
        name,
        tools=parse_tools(row.get("tools")),
        thinking=config.thinking,
    )
    reasoning = view.text("reasoning")
    if not reasoning:
        return turns
    content = turns[0]["content"]
    if "</think>" in content:
        raise RowError(
            "two thoughts",
            f"{name!r} and {view.column('reasoning')!r} both contain a thought: set"
            f" data.columns={{{view.column('reasoning')!r}: null}} to ignore one",
        )
    return ({**turns[0], "content": with_thinking(reasoning, content, config.thinking)}, *turns[1:])


def is_asked(row: Fields) -> bool:
    """True for a row with a field that asks something."""
    roles = by_role(row)
    return "question" in roles or "input" in roles


def _matches(row: Fields) -> bool:
    roles = by_role(row)
    return is_asked(row) and ("answer" in roles or "solution" in roles)


SCHEMA = RowSchema(
    name="prompt-completion",
    summary="prompt and completion, query and response, input and output, ... with a context, a thought",
    stages=("sft", "rl"),
    matches=_matches,
    parse=parse_prompt_completion,
    reads=ASKED | {"answer", "solution", "truth", "reasoning", "tools"},
)
PROMPTS = RowSchema(
    name="prompt-only",
    summary="prompts without an answer, or with the right one for a reward",
    stages=("rl",),
    matches=lambda row: is_asked(row) and not by_role(row).keys() & _ANSWERED,
    parse=parse_prompt_only,
    reads=ASKED | {"truth", "tools"},
)
