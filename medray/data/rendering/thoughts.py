"""Chains of thought: apart from answers, in the form that a template reads, after the prompt of an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from medray.data.parsing.thoughts import CLOSE, OPEN, split_thought

Message = Mapping[str, Any]
Body = Callable[[Message], str]

FIELDS = ("reasoning_content", "reasoning", "thinking", "thought")
"""Fields of a message in which templates look for its thought, in the order they are tried."""
_BRACKETS = ("[THINK]", "[/THINK]")
"""Tags of Magistral, whose template writes them for parts of a content and leaves text as it is."""
_ANSWER, _THOUGHT = "MedrayAnswer", "MedrayThought"
_CALL = {
    "id": "call00000",
    "type": "function",
    "function": {"name": "probe", "arguments": {"x": 1}},
}


class ThoughtForm(NamedTuple):
    """How a template takes thoughts and writes them.

    Thoughts go to `field` of a message, or stand inside its content where `field` is empty, there between `tags`.
    Between `opening` and `closing` they stand in a text.
    """

    field: str = ""
    opening: str = f"{OPEN}\n"
    closing: str = f"\n{CLOSE}\n\n"
    tags: tuple[str, str] = (OPEN, CLOSE)


def thought_of(message: Message, form: ThoughtForm) -> str:
    """The thought of an assistant's message, "" for none."""
    return message.get(form.field) or split_thought(message["content"])[0]


def passed(message: dict[str, Any], form: ThoughtForm) -> dict[str, Any]:
    """An assistant's message with its thought where the template reads it."""
    thought, answer = split_thought(message["content"])
    if not thought or (not form.field and form.tags == (OPEN, CLOSE)):
        return message
    if not form.field:
        return {**message, "content": thought.join(form.tags) + answer}
    return {**message, "content": answer, form.field: thought}


def find_form(source: str, prompts: Sequence[str], body: Body) -> ThoughtForm:
    """How a template takes thoughts, by trying.

    Args:
        source: its Jinja.
        prompts: its generation prompts, longest first.
        body: what it writes for an assistant's message that answers a question; "" when it refuses it.
    """
    for field in FIELDS:
        if field not in source:
            continue
        for extra in ({}, {"tool_calls": [_CALL]}):
            answer = {"role": "assistant", "content": "" if extra else _ANSWER, **extra}
            text = body({**answer, field: _THOUGHT})
            if _THOUGHT in text:
                return _tags(field, prompts, text, body(answer))
    if all(tag in source for tag in _BRACKETS):
        return ThoughtForm(tags=_BRACKETS)
    return ThoughtForm()


def opens(prompt: str, form: ThoughtForm) -> bool:
    """True when a prompt ends within a thought."""
    return _last(prompt, form.opening, OPEN) > _last(prompt, form.closing, CLOSE)


def closes(prompt: str, form: ThoughtForm) -> bool:
    """True when a prompt ends after a thought that it opened, or closed without one."""
    tail = prompt.rstrip()
    return any(tag and tail.endswith(tag) for tag in (form.closing.strip(), CLOSE))


def continuation(prompt: str, thought: str, form: ThoughtForm) -> str:
    """What an engine writes of a thought after `prompt`, its end included."""
    if not opens(prompt, form):
        return form.opening + thought + form.closing
    bare = prompt.endswith(
        form.opening.strip()
    )  # as DeepSeek-V3.1: no line breaks around a thought
    return thought + (form.closing.strip() if bare else form.closing)


def _tags(field: str, prompts: Sequence[str], with_thought: str, without: str) -> ThoughtForm:
    """The texts around a thought, where the template writes its own."""
    header = next((p for p in prompts if with_thought.startswith(p) and without.startswith(p)), "")
    before, _, after = with_thought.removeprefix(header).partition(_THOUGHT)
    rest = without.removeprefix(header)
    if not header or OPEN in before or not after.endswith(rest) or not before.strip():
        return ThoughtForm(field)
    return ThoughtForm(field, before, after.removesuffix(rest))


def _last(text: str, *tags: str) -> int:
    return max(text.rfind(tag.strip()) for tag in tags if tag.strip())
