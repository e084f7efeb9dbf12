"""A conversation: a system prompt and turns that can be taken back, saved and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, TypedDict

from medray.errors import DataError
from medray.medical.safety.advice import without_additions
from medray.storage.atomic import write_text


class Message(TypedDict):
    """One message in the OpenAI API's form."""

    role: Literal["system", "user", "assistant"]
    content: str


class Conversation:
    """Turns in order: each question is followed by its answer, but for the newest one."""

    def __init__(self, system: str = "") -> None:
        self.system = system
        self._turns: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        """Messages of the next request: the system prompt, if any, and all turns."""
        head: list[Message] = (
            [{"role": "system", "content": self.system}] if self.system.strip() else []
        )
        return [*head, *self._turns]

    def __len__(self) -> int:
        return sum(turn["role"] == "user" for turn in self._turns)

    def ask(self, text: str) -> None:
        """Add a question; one that never got an answer is replaced."""
        self.withdraw()
        self._turns.append({"role": "user", "content": text})

    def answer(self, text: str) -> None:
        """Add the answer to the open question."""
        assert self._turns
        assert self._turns[-1]["role"] == "user"
        self._turns.append({"role": "assistant", "content": text})

    def withdraw(self) -> str | None:
        """Take back a question without an answer; returns it."""
        if self._turns and self._turns[-1]["role"] == "user":
            return self._turns.pop()["content"]
        return None

    def undo(self) -> str | None:
        """Take back the last question and its answer; returns the question, None where there is none."""
        if self._turns and self._turns[-1]["role"] == "assistant":
            self._turns.pop()
        return self.withdraw()

    def forget_oldest(self) -> bool:
        """Drop the oldest question and answer, to fit the context; False where only the newest turn is left."""
        if len(self) < 2:
            return False
        del self._turns[:2]
        return True

    def clear(self) -> None:
        """Forget all turns; the system prompt stays."""
        self._turns.clear()

    def save(self, path: Path) -> None:
        """Write `{"messages": [...]}`, which `medray data` and `medray generate` read, too.

        Answers are as the model wrote them: the service's advice and disclaimers are nothing to train on.
        """
        messages = [
            {**m, "content": without_additions(m["content"])} if m["role"] == "assistant" else m
            for m in self.messages
        ]
        write_text(path, json.dumps({"messages": messages}, ensure_ascii=False, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Conversation:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing or no conversation.
        """
        try:
            messages = json.loads(path.read_text(encoding="utf-8"))["messages"]
            turns = [(str(m["role"]), str(m["content"])) for m in messages]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: no saved conversation ({error})") from None
        conversation = cls()
        if turns and turns[0][0] == "system":
            conversation.system = turns.pop(0)[1]
        for i, (role, content) in enumerate(turns):
            if role != ("user", "assistant")[i % 2]:
                raise DataError(
                    f"{path}: message {i + 1} is not the {('user', 'assistant')[i % 2]}'s"
                )
            if role == "user":
                conversation.ask(content)
            else:
                conversation.answer(content)
        return conversation
