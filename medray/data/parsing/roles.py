"""What a column is for, by its name: one table of the names that public datasets give to the same thing.

Names are compared without case, blanks, `_`, `-`, and what stands in brackets: `Response`, `response (content)` and
`RESPONSE` are one name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from medray.data.source import RowError

ROLES: dict[str, tuple[str, ...]] = {
    "question": (
        "question", "prompt", "instruction", "query", "problem", "qtext", "stem", "user_prompt", "user_query",
        "ask", "human", "prompts", "问", "问题", "提问", "指令", "题目",
    ),
    "input": ("input", "inputs", "user_input", "输入"),
    "context": ("context", "contexts", "passage", "abstract", "background", "evidence", "patient_note"),
    "system": ("system", "system_prompt", "system_message", "sys_prompt"),
    "history": ("history", "chat_history", "conversation_history"),
    "messages": (
        "messages", "conversations", "conversation", "dialogue", "dialog", "dialogues", "turns", "utterances", "chat",
    ),
    "answer": (
        "answer", "response", "output", "completion", "reply", "long_answer", "assistant", "model_answer", "outputs",
        "answer_text", "content", "target_text", "答", "答案", "回答", "回复", "输出",
    ),
    "solution": ("solution", "full_solution"),
    "truth": ("ground_truth", "reference_answer", "gold_answer", "reference", "expected_answer", "final_answer"),
    "reasoning": (
        "reasoning", "reasoning_content", "thinking", "thought", "thoughts", "cot", "complex_cot", "rationale",
        "chain_of_thought", "think", "reasoning_trace", "thinking_trajectory",
    ),
    "options": ("options", "option", "choices", "answer_choices", "opts", "选项"),
    "key": (
        "answer_idx", "answer_index", "correct_option", "correct_answer", "correct", "cop", "ra", "gold", "answerkey",
        "correct_idx", "right_answer", "gold_index", "correct_choice", "answer_letter", "correct_answer_index",
    ),
    "chosen": (
        "chosen", "response_chosen", "chosen_response", "preferred", "preferred_response", "accepted",
        "answer_chosen", "chosen_answer", "better_response", "positive", "accepted_response",
    ),
    "rejected": (
        "rejected", "response_rejected", "rejected_response", "dispreferred", "dispreferred_response",
        "answer_rejected", "rejected_answer", "worse_response", "negative", "non_preferred_response",
    ),
    "label": ("label", "kto_tag", "labels", "is_good", "desirable", "thumbs_up"),
    "winner": (
        "winner", "preference", "better_response_id", "preferred_id", "preference_strength", "overall_preference",
        "choice", "better", "verdict", "preferred_answer", "best",
    ),
    "answers": ("answers", "completions", "responses", "candidates", "generations", "summaries"),
    "scores": ("scores", "ratings", "ranks"),
    "score_chosen": ("score_chosen", "chosen_score", "chosen_rating", "rating_chosen"),
    "score_rejected": ("score_rejected", "rejected_score", "rejected_rating", "rating_rejected"),
    "margin": ("margin",),
    "score": ("score", "rating", "quality", "helpfulness", "overall_score", "reward"),
    "rank": ("rank",),
    "parent": ("parent_id", "parent", "reply_to", "in_reply_to"),
    "split": ("split", "subset_split", "data_split"),
    "media": (
        "image", "images", "picture", "pictures", "video", "videos", "audio", "audios", "image_path", "img",
        "image_url", "images_path", "pixel_values",
    ),
    "functions": ("functions", "function_call", "function_calls", "available_tools"),
    "tools": ("tools",),
    "text": ("text", "document", "article", "passages", "正文"),
    "id": ("id", "qid", "question_id", "prompt_id", "uid", "uuid", "index"),
}  # fmt: skip
"""Role -> the names it goes by. `data.columns` may name any of these on its left side."""

MEANING: dict[str, str] = {
    "question": "what is asked",
    "input": "what an instruction works on",
    "context": "what a question is about",
    "system": "a system prompt",
    "history": "earlier turns",
    "messages": "turns of a chat",
    "answer": "an answer",
    "solution": "a worked answer",
    "truth": "the right answer",
    "reasoning": "a chain of thought",
    "options": "options of a choice",
    "key": "the right option",
    "chosen": "a preferred answer",
    "rejected": "a rejected answer",
    "label": "a label",
    "winner": "which answer won",
    "answers": "several answers",
    "scores": "scores of several answers",
    "parent": "the parent of a message in a tree",
    "media": "images, sound or video, which no stage trains on",
    "functions": "functions that may be called; medray reads them as `tools`",
    "tools": "tools",
    "text": "a document",
}
"""Roles that change what a row says, in words: a schema reads such a field or refuses the row."""

_READERS = {
    "label": "kto", "options": "choice", "key": "choice", "chosen": "pair", "rejected": "pair", "winner": "ranked",
    "answers": "ranked", "scores": "ranked", "parent": "message-tree", "messages": "dialogue",
    "context": "prompt-completion", "reasoning": "prompt-completion",
}  # fmt: skip
"""Which schema reads a role."""

_BRACKETS = re.compile(r"[(（\[].*?[)）\]]")
_JOINERS = re.compile(r"[\s_\-.:]+")
_LETTERED = re.compile(
    r"(?:option|opt|op|choice|ending|answer_?option)?[\s_-]*([a-j]|\d)", re.IGNORECASE
)


def normal(name: str) -> str:
    """The name as names are compared."""
    bare = _BRACKETS.sub("", name) or name
    return _JOINERS.sub("", bare).casefold()


_ROLE_OF = {normal(name): role for role, names in ROLES.items() for name in names}


@functools.lru_cache(maxsize=4096)
def role_of(name: str) -> str | None:
    """The role of a column; None for a name that is not in the table."""
    return _ROLE_OF.get(normal(name))


def is_blank(value: Any) -> bool:
    """True for what says nothing: null, blank text, an empty list or object."""
    return value is None or (isinstance(value, str | list | dict) and not value) or (
        isinstance(value, str) and not value.strip()
    )  # fmt: skip


def by_role(row: Mapping[str, Any]) -> dict[str, list[str]]:
    """The columns of each role that say something, in the order of the row."""
    found: dict[str, list[str]] = {}
    for name, value in row.items():
        role = role_of(name)
        if role == "messages" and not isinstance(value, list | str):
            continue  # `turns: 3` counts them
        if role is not None and not is_blank(value):
            found.setdefault(role, []).append(name)
    return found


def option_columns(row: Mapping[str, Any]) -> dict[str, str]:
    """Options that stand in columns of their own: letter or number -> column; {} unless two or more are in turn.

    `A, B, C, D`, `option_a ...`, `opa ...`, `choice1 ...`, `ending0 ...`, `option (A) ...`.
    """
    found: dict[str, str] = {}
    for name in row:
        match = _LETTERED.fullmatch(re.sub(r"[()（）\[\]]", " ", name).strip())
        if match:
            found.setdefault(match[1].upper(), name)
    keys = sorted(found)
    first = keys[0] if keys else ""
    in_turn = [chr(ord(first) + i) for i in range(len(keys))] if first in ("A", "0", "1") else []
    return {key: found[key] for key in keys} if len(keys) > 1 and keys == in_turn else {}


def unread_field(row: Mapping[str, Any], reads: frozenset[str]) -> tuple[str, str] | None:
    """The first column, with its role, that changes what a row says and is not among `reads`; None for none."""
    for role, names in by_role(row).items():
        if role in MEANING and role not in reads:
            return names[0], role
    if "options" not in reads and (lettered := option_columns(row)):
        return next(iter(lettered.values())), "options"
    return None


_PLAIN = {"id", "lang", "source", "group", "split", "weight"}


def unread_names(row: Mapping[str, Any], reads: frozenset[str]) -> list[str]:
    """The columns that say something and are not among `reads`, beside those that every row may have."""
    own = set(option_columns(row).values()) if "options" in reads else set[str]()
    return [
        name
        for name, value in row.items()
        if not is_blank(value)
        and name not in own
        and (role_of(name) or normal(name)) not in reads | _PLAIN
    ]


def refuse_unread(row: Mapping[str, Any], reads: frozenset[str], kind: str) -> None:
    """Refuse a row with a field that changes its meaning and that schema `kind` does not read.

    Raises:
        RowError: it names the field, and the settings that leave it out or read it.
    """
    if (unread := unread_field(row, reads)) is None:
        return
    name, role = unread
    other = _READERS.get(role)
    reader = f"data.kind={other} reads it, " if other and other != kind else ""
    raise RowError(
        "unread field",
        f"{kind} does not read {name!r} ({MEANING[role]}): {reader}data.columns={{FIELD: {name!r}}} reads it as another"
        f" field, and data.columns={{{name!r}: null}} leaves it out",
    )
