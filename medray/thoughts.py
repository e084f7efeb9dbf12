"""What a reader sees of a model's text: all but its thoughts."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BLOCK = re.compile(r"<(think|thinking|thought)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_END = re.compile(r"</(?:think|thinking|thought)>", re.IGNORECASE)
_UP_TO_END = re.compile(r"\A.*</(?:think|thinking|thought)>", re.DOTALL | re.IGNORECASE)

Tags = tuple[str, str]
"""What a thought begins and ends with."""


def visible_text(text: str, *, opened: bool = False, tags: Sequence[Tags] = ()) -> str:
    """`text` without its thoughts; a thought that does not end hides all that follows it.

    Args:
        text: what the model wrote.
        opened: the prompt ended within a thought, so `text` begins in it.
        tags: those of a template, besides `<think>`, `<thinking>` and `<thought>`.
    """
    if opened:
        ends = [m.end() for m in [_END.search(text)] if m]
        ends += [at + len(end) for _, end in tags if (at := text.find(end)) >= 0]
        if not ends:
            return ""
        text = text[min(ends) :]
    for begin, end in tags:
        pattern = rf"{re.escape(begin)}.*?(?:{re.escape(end)}|\Z)"
        text = re.sub(pattern, " ", text, flags=re.DOTALL)
    return _UP_TO_END.sub("", _BLOCK.sub(" ", text))
