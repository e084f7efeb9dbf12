"""Words planted in messages, by which a rendering shows whose text is where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from medray.data.parsing.thoughts import CLOSE, split_thought
from medray.data.rendering.thoughts import ThoughtForm

Messages = Sequence[Mapping[str, Any]]


class Planted(NamedTuple):
    """A dialogue in which every text holds a word of its own, and the words by message; "" where there is none."""

    messages: list[dict[str, Any]]
    words: tuple[str, ...]
    thoughts: tuple[str, ...]

    def strangers(self, message: int, text: str) -> list[int]:
        """The messages other than `message` whose words stand in `text`."""
        folded = text.casefold()
        found: list[int] = []
        for i, words in enumerate(zip(self.words, self.thoughts, strict=True)):
            if i != message and any(word and word.casefold() in folded for word in words):
                found.append(i)
        return found

    def keeps_thought(self, message: int, text: str) -> bool:
        """True when `text` holds the thought of `message`."""
        return self.thoughts[message].casefold() in text.casefold()


def plant(messages: Messages, text: str, form: ThoughtForm) -> Planted:
    """The dialogue with a word in the middle of every content and thought, none of which stands in `text`.

    The beginnings and ends of contents stay, by which templates tell what a message is.
    """
    stem = "Medray"
    while stem.casefold() in text.casefold():
        stem += "m"
    planted: list[dict[str, Any]] = []
    words = [f"{stem}W{i}x" for i in range(len(messages))]
    thoughts = [f"{stem}T{i}x" for i in range(len(messages))]
    for i, message in enumerate(messages):
        new, head, content, inline = dict(message), "", message["content"], ""
        if message["role"] == "assistant":
            inline = split_thought(content)[0]
            before, tag, after = content.partition(CLOSE)
            if tag:
                head, content = before.replace(inline, _within(inline, thoughts[i]), 1) + tag, after
            if message.get(form.field):
                new[form.field] = _within(message[form.field], thoughts[i])
        if not inline and not message.get(form.field):
            thoughts[i] = ""
            head = head.replace(f"{stem}T{i}x", "")
        if content.strip():
            content = _within(content, words[i])
        else:
            words[i] = ""
        planted.append({**new, "content": head + content})
    return Planted(planted, tuple(words), tuple(thoughts))


def _within(text: str, word: str) -> str:
    middle = len(text) // 2
    return text[:middle] + word + text[middle:]
