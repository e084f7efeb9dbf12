"""Is the answer in the language of the question?

Told by script: the share of Chinese characters among Chinese characters and Latin words. Names, units and abbreviations
in the other script are why the bound is not 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from medray.config.base import Section
from medray.types import GroupScore, Prompt, Record, Response

_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]{2,}")
_MARKUP = re.compile(r"</?\w+>|\\[a-zA-Z]+|`[^`]*`")


class LanguageOptions(Section):
    """The wanted language, and how much of the answer must be in it."""

    language: Literal["question", "zh", "en"] = "question"
    """The language to answer in; `question` takes that of the last user turn."""
    min_share: float = Field(default=0.6, gt=0, le=1)
    """Least share of the answer in the wanted script."""
    thoughts: bool = False
    """Read the thoughts, too."""


class LanguageReward:
    """1 where at least `min_share` of the answer is in the wanted script, else 0; an empty answer scores 0."""

    Options = LanguageOptions
    low, high, parts = 0.0, 1.0, ("share",)

    def __init__(self, options: LanguageOptions | None = None) -> None:
        self.options = LanguageOptions() if options is None else options

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """1 or 0 per response; the part `share` is the share in the wanted script."""
        wanted = self.options.language
        if wanted == "question":
            wanted = "zh" if han_share(asked(prompt.record)) >= 0.5 else "en"
        texts = (r.text if self.options.thoughts else r.visible_text for r in responses)
        shares = tuple(_share(text, wanted) for text in texts)
        return GroupScore(
            tuple(float(share >= self.options.min_share) for share in shares), {"share": shares}
        )


def asked(record: Record) -> str:
    """The text of the last user turn; empty where there is none."""
    return next((m["content"] for m in reversed(record.messages) if m["role"] == "user"), "")


def han_share(text: str) -> float:
    """Chinese characters over Chinese characters and Latin words; 0 where there are neither."""
    num_han, num_latin = _counts(text)
    return num_han / (num_han + num_latin) if num_han + num_latin else 0.0


def _share(text: str, wanted: str) -> float:
    num_han, num_latin = _counts(text)
    if not num_han + num_latin:
        return 0.0
    return (num_han if wanted == "zh" else num_latin) / (num_han + num_latin)


def _counts(text: str) -> tuple[int, int]:
    bare = _MARKUP.sub(" ", text)
    return len(_HAN.findall(bare)), len(_LATIN.findall(bare))
