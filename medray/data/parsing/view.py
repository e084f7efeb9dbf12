"""The fields of a row by what they are for, whatever they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.dialogue import parse_dialogue, parsed_text
from medray.data.parsing.fields import check_encodable, check_text, kind_of, require
from medray.data.parsing.roles import MEANING, by_role, role_of
from medray.data.parsing.transcript import parse_transcript
from medray.data.parsing.turns import chat, user_text
from medray.data.source import RowError
from medray.types import Message

_INNER = ("contexts", "full_text", "text", "content", "value")


class View:
    """Finds columns by role. Two columns of one role are refused: which of them is meant, only a person knows."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row
        self._roles = by_role(row)

    def __contains__(self, role: str) -> bool:
        return role in self._roles

    def column(self, role: str) -> str:
        """The one column of a role.

        Raises:
            RowError: there is none, or there are several.
        """
        names = self._roles.get(role, [])
        if len(names) == 1:
            return names[0]
        if names:
            one, other = names[:2]
            raise RowError(
                "ambiguous fields",
                f"{one!r} and {other!r} could both be {MEANING.get(role, role)}: set data.columns={{{other!r}: null}}"
                f" to read {one!r}, or the other way round",
            )
        for name, value in self._row.items():
            if role_of(name) == role:
                check_text(value, name)  # says what is wrong with it
                raise RowError(
                    "empty value", f"{name!r} says nothing; fill it in or remove the row"
                )
        require(self._row, role)
        raise AssertionError(role)

    def value(self, role: str) -> Any:
        """The value of a role; None when the row has no such column."""
        return self._row[self.column(role)] if role in self._roles else None

    def text(self, role: str) -> str:
        """The text of a role; "" when the row has no such column."""
        return "" if role not in self._roles else text_of(self.value(role), self.column(role))

    def joined(self, role: str) -> str:
        """The text of a role that may be a list of paragraphs; "" when the row has no such column."""
        return "" if role not in self._roles else joined(self.value(role), self.column(role))

    def prompt(self, config: DataConfig) -> tuple[Message, ...]:
        """What the assistant is to answer.

        Turns where the row has some; else the context, the question and its input, a paragraph each, after the system
        prompt and the history.

        Raises:
            RowError: nothing is asked.
        """
        system = self.text("system")
        if "messages" in self:
            name = self.column("messages")
            turns = parse_dialogue(
                self.value("messages"), name, system=system, thinking=config.thinking
            )
            self._check_question(turns)
            return turns
        question = parsed_text(self.value("question")) if "question" in self else None
        if isinstance(question, list) and any(isinstance(turn, dict) for turn in question):
            name = self.column("question")
            return parse_dialogue(question, name, system=system, thinking=config.thinking)
        context = parsed_text(self.value("context")) if "context" in self else None
        is_chat = isinstance(context, list) and any(isinstance(turn, dict) for turn in context)
        if is_chat and "question" not in self and "input" not in self:
            return parse_dialogue(context, self.column("context"), system=system)
        asked = self._asked()
        if turns := parse_transcript(asked, "question", people=False):
            return turns if not system else (*chat(system=system), *turns)
        return (*self._before(system), {"role": "user", "content": asked})

    def prompt_text(self) -> str:
        """What is asked as one text: the context, the question and its input."""
        return check_text(self._asked(), self._roles.get("question", ["question"])[0])

    def _check_question(self, turns: tuple[Message, ...]) -> None:
        """Refuse turns beside a question that is not in them: what is asked is one of the two."""
        if "question" not in self or isinstance(parsed_text(self.value("question")), list):
            return
        question, said = self.text("question"), user_text(turns)
        if question not in (*said, "\n".join(said), "\n\n".join(said)):
            name, other = self.column("question"), self.column("messages")
            raise RowError(
                "prompts differ",
                f"{name!r} is not among the user's turns of {other!r}: set data.columns={{{name!r}: null}} to read"
                " the turns",
            )

    def _asked(self) -> str:
        context = self.joined("context") or self.joined("text")
        parts = [self.text("question"), self.text("input")]
        if "question" not in self and "input" not in self and "history" in self:
            parts = [self.text("history")]  # a prompt under another name, as in SHP
        asked = "\n".join(part for part in parts if part)
        if not asked:
            self.column("question")
        return f"{context}\n\n{asked}" if context else asked

    def _before(self, system: str) -> tuple[Message, ...]:
        if "history" not in self or ("question" not in self and "input" not in self):
            return chat(system=system)
        history = parsed_text(self.value("history"))
        if isinstance(history, list) and history:
            name = self.column("history")
            return parse_dialogue(history, name, system=system)
        raise RowError(
            "wrong type",
            f"'history' is {kind_of(history)}; write a list of [question, answer] pairs",
        )


def text_of(value: Any, name: str) -> str:
    """A field as one text, which may stand inside an object (WebGPT's `question.full_text`)."""
    if isinstance(value, dict):
        inner = next((key for key in _INNER if isinstance(value.get(key), str)), None)
        if inner is not None:
            return text_of(value[inner], f"{name}.{inner}")
    return check_encodable(value, name).strip()


def joined(value: Any, name: str) -> str:
    """A field as one text: paragraphs a line each, also inside an object (PubMedQA's `context.contexts`)."""
    value = parsed_text(value)
    if isinstance(value, dict):
        inner = next((key for key in _INNER if isinstance(value.get(key), list)), None)
        value = value if inner is None else value[inner]
    if isinstance(value, list):
        return "\n".join(text_of(item, f"{name}[{i}]") for i, item in enumerate(value))
    return text_of(value, name)
