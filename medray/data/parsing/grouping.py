"""Which dialogues belong together: those that begin with the same question, and turns that several of them share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from medray.data.parsing.language import text_group
from medray.data.parsing.thoughts import split_thought
from medray.data.parsing.turns import user_text
from medray.types import Message, Record

_GREETING = re.compile(
    r"\W*(?:(?:hi|hello|hey|good (?:morning|afternoon|evening)|greetings|dear)(?: there)?|您好|你好|在吗|早上好|下午好)"
    r"[\s,，]*(?:doctor|doc|dr|sir|madam|医生|大夫)?\W*",
    re.IGNORECASE,
)


def dialogue_group(messages: Sequence[Message]) -> str:
    """A key that is equal for dialogues that begin with the same question, "" for no words.

    A dialogue that is given once per turn, each time one turn longer, is one group. Greetings are passed over, unless
    nothing else is said.
    """
    said = user_text(messages) or tuple(m["content"] for m in messages if m["role"] != "system")
    asked = next((text for text in said if not _GREETING.fullmatch(text)), said[0] if said else "")
    return text_group(asked) if asked else ""


def exchanges(record: Record) -> Iterator[bytes]:
    """A key of each answer with the words of the user it follows: what two dialogues may share."""
    asked = ""
    for message in (*record.messages, *record.chosen):
        if message["role"] == "user":
            asked = message["content"]
        elif message["role"] == "assistant":
            answer = split_thought(message["content"])[1]
            yield bytes.fromhex(text_group(asked, answer or repr(message.get("tool_calls"))))
